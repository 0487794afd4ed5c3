-- More of a flight, and its end: taken from its leader alone, each number once, and only where somebody follows.
--
-- KEYS: the flight, its pieces. ARGV: token, number, pieces, 'end' or '', the end's message, how long the pieces are
-- kept in ms, this replica's channel.

local flight, pieces, token = KEYS[1], KEYS[2], ARGV[1]
local leader, followed, number = unpack(redis.call('HMGET', flight, 'leader', 'followed', 'number'))
if not leader then
  return 'lost'
end

local ends = ARGV[4] == 'end'
if followed and tonumber(ARGV[2]) > tonumber(number or 0) then
  local entry = {'pieces', ARGV[3]}
  if ends then
    entry = {'pieces', ARGV[3], 'end', ARGV[5]}
  end
  redis.call('XADD', pieces, ARGV[2] .. '-0', unpack(entry))
  redis.call('PEXPIRE', pieces, ARGV[6])
  redis.call('HSET', flight, 'number', ARGV[2])
  for _, field in ipairs(redis.call('HKEYS', flight)) do
    if field:sub(1, 7) == 'reader:' then
      redis.call('PUBLISH', field:sub(8), token)
    end
  end
end
if ends then
  redis.call('DEL', flight)
  if leader ~= ARGV[7] then
    redis.call('PUBLISH', leader, token .. ' end')
  end
end
return followed and 'followed' or 'alone'
