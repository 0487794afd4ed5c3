-- From now on nothing is stored that was asked before and belongs to this. KEYS: the organisation's drops. ARGV: a name.

redis.call('ZADD', KEYS[1], math.max(now(), last_drop(KEYS[1]) + 1), ARGV[1])
if redis.call('ZCARD', KEYS[1]) > MOST_DROPS then
  for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, 2)) do
    if name ~= 'since' and name ~= 'all' then
      redis.call('ZADD', KEYS[1], 'GT', redis.call('ZSCORE', KEYS[1], name), 'all')
      redis.call('ZREM', KEYS[1], name)
      return
    end
  end
end
