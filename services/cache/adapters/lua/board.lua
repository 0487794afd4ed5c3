-- An answer, or the lead, or whom to follow; in one step, so that what was stored a moment ago is not made again.
--
-- KEYS: the answer's entry, the flight. ARGV: a new token, the lease in ms, this replica's channel, who would lead
-- (request id, traceparent), then the fields of the entry; without them it is not looked at.

if #ARGV > 5 then
  local values = redis.call('HMGET', KEYS[1], unpack(ARGV, 6))
  for _, value in ipairs(values) do
    if value then
      return {'stored', values}
    end
  end
end

local flight = KEYS[2]
local token, leader, request_id, traceparent =
  unpack(redis.call('HMGET', flight, 'token', 'leader', 'request_id', 'traceparent'))
if not token then
  redis.call('HSET', flight, 'token', ARGV[1], 'leader', ARGV[3], 'request_id', ARGV[4], 'traceparent', ARGV[5])
  redis.call('PEXPIRE', flight, ARGV[2])
  return {'lead'}
end
if token == ARGV[1] then
  return {'lead'} -- sent a second time, because the first reply was lost
end

redis.call('HSET', flight, 'reader:' .. ARGV[3], 1)
if redis.call('HSETNX', flight, 'followed', 1) == 1 then
  redis.call('PUBLISH', leader, token)
end
return {'follow', token, request_id, traceparent}
