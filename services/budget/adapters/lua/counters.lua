-- What each account has spent and reserved in each window.

-- A counter outlives its window by the longest lease (a day), the time for corrections (a day), and a day.
local COUNTER_KEPT_MS = 3 * DAY_MS

-- A draft holds what a step is about to change in each counter: weighed as a whole, then written, or dropped.
-- It is a list of counters, each also found by its key.
local function add_to(draft, record, at_ms, spent, reserved)
  local touched = {}
  for _, window in ipairs(record.windows) do
    local id, end_ms = window_at(window, at_ms)
    for _, account in ipairs(record.accounts) do
      local key = PREFIX .. 'spend:' .. account .. ':' .. window .. ':' .. id
      local counter = draft[key]
      if not counter then
        counter = {key = key, account = account, window = window, end_ms = end_ms, spent = 0, reserved = 0}
        draft[key] = counter
        draft[#draft + 1] = counter
      end
      counter.spent = counter.spent + spent
      counter.reserved = counter.reserved + reserved
      touched[#touched + 1] = counter
    end
  end
  return touched
end

-- Reads the limits of drafted counters, and where they stand before the draft. One without a limit refuses nothing.
local function weigh(counters)
  local names = {}
  for i, counter in ipairs(counters) do
    names[i] = counter.account .. ':' .. counter.window .. ':money'
  end
  local limits = redis.call('HMGET', LIMITS, unpack(names))
  for i, counter in ipairs(counters) do
    if limits[i] then
      local stands = redis.call('HMGET', counter.key, 'spent', 'reserved')
      counter.limit = tonumber(limits[i])
      counter.stands_spent = tonumber(stands[1] or 0)
      counter.stands_reserved = tonumber(stands[2] or 0)
    end
  end
end

local function left_in(counter)
  return counter.limit - counter.stands_spent - counter.stands_reserved - counter.spent - counter.reserved
end

-- What the tightest of these limits leaves.
local function room_in(counters)
  local room = math.huge
  for _, counter in ipairs(counters) do
    if counter.limit then
      room = math.min(room, left_in(counter))
    end
  end
  return room
end

-- The limit that the draft would pass, as a reply; nil when it passes none. `current` are the counters of now: the
-- others only fall. Of several limits it is the one that frees last, since to wait for another would be in vain. What
-- does not raise a counter is never refused: the counter may stand above a limit that was lowered.
local function refusal(current, need, now)
  local refuses, frees_ms
  for _, counter in ipairs(current) do
    if counter.limit and counter.spent + counter.reserved > 0 and left_in(counter) < 0 then
      local frees = counter.end_ms or math.huge
      if need > counter.limit then
        frees = math.huge
      end
      if not refuses or frees > frees_ms then
        refuses, frees_ms = counter, frees
      end
    end
  end
  if refuses then
    return {
      'exceeded', refuses.account, refuses.window, refuses.limit, refuses.stands_spent, refuses.stands_reserved,
      need, now, refuses.end_ms or -1,
    }
  end
end

local function write(draft, now)
  for _, counter in ipairs(draft) do
    if counter.spent ~= 0 then
      redis.call('HINCRBY', counter.key, 'spent', counter.spent)
    end
    if counter.reserved ~= 0 then
      local reserved = redis.call('HINCRBY', counter.key, 'reserved', counter.reserved)
      -- The first reservation of all makes the counter. From then on, not from the date: a test's time is its own.
      if reserved == counter.reserved and counter.end_ms then
        redis.call('PEXPIRE', counter.key, counter.end_ms - now + COUNTER_KEPT_MS)
      end
    end
  end
end
