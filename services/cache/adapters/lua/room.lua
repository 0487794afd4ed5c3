-- The answer that has to go for there to be no more than the cap, as its organisation and digest; nothing where there is
-- room. It is the one that would expire next of the organisation that has the most.
--
-- KEYS: organisations by how many answers they were last seen to have, the sum of these. ARGV: who has put one, the
-- time, the cap.

local seen, sum = KEYS[1], KEYS[2]

local function all_of(organisation)
  return 'tw:cache:{' .. organisation .. '}:all'
end

local function see(organisation)
  local all, before = all_of(organisation), tonumber(redis.call('ZSCORE', seen, organisation) or 0)
  redis.call('ZREMRANGEBYSCORE', all, '-inf', ARGV[2])
  local now = redis.call('ZCARD', all)
  if now > 0 then
    redis.call('ZADD', seen, now, organisation)
  else
    redis.call('ZREM', seen, organisation)
  end
  redis.call('INCRBY', sum, now - before)
  return now == before
end

-- One without the other says nothing: a Redis that may evict any key has evicted it.
if redis.call('EXISTS', seen, sum) == 1 then
  redis.call('DEL', seen, sum)
end
see(ARGV[1])
-- Who puts nothing any more has fewer with every one that expires; in time the lot falls on each of them.
see(redis.call('ZRANDMEMBER', seen) or ARGV[1])

while tonumber(redis.call('GET', sum)) > tonumber(ARGV[3]) do
  local most = redis.call('ZREVRANGE', seen, 0, 0)[1]
  if see(most) then
    return {most, redis.call('ZRANGE', all_of(most), 0, 0)[1]}
  end
end
