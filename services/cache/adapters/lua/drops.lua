-- Before each script that knows of drops. Of an organisation's answers: what was dropped, and which drop it was, as a
-- sorted set of names and numbers. Numbers rise, and a later one is never less than the time in microseconds: so they
-- go on rising where a Redis comes back empty, or with less than it had.
--
-- "since" is no drop: whoever asked before it asked a Redis that has forgotten what was dropped. It has no expiry, for
-- what expires may be evicted; in place of more names than these "all" stands for those that were dropped longest ago.

local MOST_DROPS = 1000

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function last_drop(drops)
  local last = redis.call('ZREVRANGE', drops, 0, 0, 'WITHSCORES')[2]
  if not last then
    last = now()
    redis.call('ZADD', drops, last, 'since')
  end
  return tonumber(last)
end

-- Whether any of these names was dropped after `as_of`.
local function dropped(drops, as_of, names)
  for _, name in ipairs({'since', unpack(names)}) do
    local number = redis.call('ZSCORE', drops, name)
    if number and tonumber(number) > as_of then
      return true
    end
  end
  return false
end
