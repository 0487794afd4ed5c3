-- The names of the organisation's keys that match, a step from a cursor on: what SCAN says. It names no key itself, so
-- only a script brings it to that node of a cluster.

return redis.call('SCAN', args.cursor, 'MATCH', PREFIX .. args.match, 'COUNT', args.most)
