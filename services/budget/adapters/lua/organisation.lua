-- What a call is told, and the time. The adapter puts this, what most verbs need, and what a verb alone needs in front
-- of each verb's own file: so each verb is one script, an atomic step over one organisation. All of it is made anew in
-- each call, so what a verb does not need is not there.
--
-- KEYS  1 clock · 2 limits · 3 leases · 4 receipts · 5 wanted · 6 requests · 7 none, which never exists · 8 … the
--       reservations that the verb names
-- ARGV  1 what the organisation's keys begin with · 2 the time in ms, for tests alone · 3 what is asked, as JSON
--
-- Two kinds of keys are built here and not passed: counters, whose names depend on the time that this script reads, and
-- reservations that it finds expired. All keys begin with the organisation's hash tag, so on a cluster they lie in the
-- slot of KEYS; and one of KEYS is missing everywhere, so no script runs while that slot is between two nodes.
--
-- Money is whole micro-dollars, and all else that is counted is whole. A Lua number is a double, exact to 2^53;
-- domain/money.py bounds what comes in.

local CLOCK, LIMITS, LEASES, RECEIPTS, WANTED, ENTRIES_OF =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local PREFIX = ARGV[1]

local args = cjson.decode(ARGV[3])

-- Never before the organisation's high-water mark: a clock that steps back, a failover to a host whose clock is behind,
-- would else open a window anew that was spent already.
local function advance_clock()
  local time
  if ARGV[2] ~= '' then
    time = tonumber(ARGV[2])
  else
    local seconds, microseconds = unpack(redis.call('TIME'))
    time = seconds * 1000 + math.floor(microseconds / 1000)
  end
  local mark = tonumber(redis.call('GET', CLOCK) or 0)
  if time > mark then
    redis.call('SET', CLOCK, time)
    return time
  end
  return mark
end
