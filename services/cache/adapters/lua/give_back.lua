-- The lead is free, if it still is this leader's; those who followed hear of it.
--
-- KEYS: the flight. ARGV: token.

if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return
end
local fields = redis.call('HKEYS', KEYS[1])
redis.call('DEL', KEYS[1])
for _, field in ipairs(fields) do
  if field:sub(1, 7) == 'reader:' then
    redis.call('PUBLISH', field:sub(8), ARGV[1])
  end
end
