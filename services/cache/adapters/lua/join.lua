-- An answer is the same as a family's: where it is still there, with a vector. Were it another by now, put since, that
-- would vote with the wrong ones for a while, which labels notice.
--
-- KEYS: the answer's entry, the stream of changes. ARGV: its tag, the family, how many changes are kept.

if redis.call('HEXISTS', KEYS[1], 'vec') == 1 then
  redis.call('HSET', KEYS[1], 'fam', ARGV[2])
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'tag', ARGV[1], 'fam', ARGV[2])
end
