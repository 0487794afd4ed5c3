-- An answer, or the lead, or whom to follow; in one step, so that what was stored a moment ago is not made again.
--
-- KEYS: the answer's entry, which flight of it may be followed, this flight, the organisation's drops. ARGV: a new
-- token, the lease in ms, how long it is kept who may be followed, this replica's channel, who would lead (request id,
-- traceparent), the names under which its answer may be dropped (JSON), how a flight's key begins, then the fields of
-- the entry; without them it is not looked at.

if #ARGV > 8 then
  local values = redis.call('HMGET', KEYS[1], unpack(ARGV, 9))
  for _, value in ipairs(values) do
    if value then
      return {'stored', values}
    end
  end
end

local flight, as_of = KEYS[3], last_drop(KEYS[4])
if redis.call('EXISTS', flight) == 1 then
  return {'lead', as_of} -- sent a second time, because the first reply was lost; or given back before it came here
end

local token = redis.call('GET', KEYS[2])
if token then
  local followed = ARGV[8] .. token
  local leader, request_id, traceparent, from, names =
    unpack(redis.call('HMGET', followed, 'leader', 'request_id', 'traceparent', 'as_of', 'names'))
  if leader and not dropped(KEYS[4], tonumber(from), cjson.decode(names)) then
    redis.call('HSET', followed, 'reader:' .. ARGV[4], 1)
    if redis.call('HSETNX', followed, 'followed', 1) == 1 then
      redis.call('PUBLISH', leader, token)
    end
    return {'follow', as_of, token, request_id, traceparent}
  end
end
redis.call('HSET', flight, 'leader', ARGV[4], 'request_id', ARGV[5], 'traceparent', ARGV[6], 'names', ARGV[7],
  'as_of', string.format('%.0f', as_of))
redis.call('PEXPIRE', flight, ARGV[2])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
return {'lead', as_of}
