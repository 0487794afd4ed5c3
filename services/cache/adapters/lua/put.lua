-- An answer with its places in the indexes, without which it could not be dropped; 0 and nothing where what it belongs
-- to was dropped while it was generated.
--
-- KEYS: the organisation's drops, the answer's entry, the stream of changes, the set of all indexes, the indexes of this
-- answer. ARGV: what the asker knew of drops, how far back that is to be taken for where it is 0 (in microseconds), the
-- names under which it may have been dropped (JSON), its lifetime in ms, its digest, when it expires, the time, how many
-- changes are kept, how many arguments of the change follow, these, and more fields of the entry.

local drops, entry = KEYS[1], KEYS[2]
local as_of = tonumber(ARGV[1])
last_drop(drops)
if as_of == 0 then
  as_of = math.max(now() - ARGV[2], tonumber(redis.call('ZSCORE', drops, 'since')))
end
if dropped(drops, as_of, cjson.decode(ARGV[3])) then
  return 0
end

local lifetime, change_ends = ARGV[4], 9 + ARGV[9]
redis.call('DEL', entry)
redis.call('HSET', entry, unpack(ARGV, 10))
redis.call('PEXPIRE', entry, lifetime)
for place = 5, #KEYS do
  local index = KEYS[place]
  redis.call('ZREMRANGEBYSCORE', index, '-inf', ARGV[7])
  redis.call('ZADD', index, ARGV[6], ARGV[5])
  redis.call('SADD', KEYS[4], index)
end
-- As many as have come, so that those of which all has expired grow no more than the others.
for _, index in ipairs(redis.call('SRANDMEMBER', KEYS[4], #KEYS - 4)) do
  redis.call('ZREMRANGEBYSCORE', index, '-inf', ARGV[7])
  if redis.call('EXISTS', index) == 0 then
    redis.call('SREM', KEYS[4], index)
  end
end
if change_ends > 9 then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[8], '*', unpack(ARGV, 10, change_ends))
end
return 1
