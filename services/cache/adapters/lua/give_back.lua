-- The lead is free, if there still is one; those who followed hear of it. Where there is none it will not be had: who
-- gives it back may have asked, and that may come after this.
--
-- KEYS: the flight. ARGV: token, for how long it will not.

for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if field:sub(1, 7) == 'reader:' then
    redis.call('PUBLISH', field:sub(8), ARGV[1])
  end
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'given_back', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
