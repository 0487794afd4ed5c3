-- What each account has used and reserved, by kind and window.

-- A counter outlives its window by the longest lease (a day), the time for corrections (a day), and a day.
local COUNTER_KEPT_MS = 3 * DAY_MS
-- Money is counted in these for every account; everything else where there is a limit for it.
local ALWAYS = {'hour', 'day', 'month', 'total'}
-- What is in the way may be gone at any moment, or not.
local TRY_AGAIN_MS = 1000

-- A draft holds what a step is about to change in each counter: weighed as a whole, then written, or dropped.
-- It is a list of counters, each also found by its key.
local function drafted(draft, counters, key, account, kind, window, end_ms)
  local counter = draft[key]
  if not counter then
    counter = {key = key, account = account, kind = kind, window = window, end_ms = end_ms, spent = 0, reserved = 0}
    if kind ~= 'money' and window ~= 'total' then
      counter.bucket_ms = SLIDING_MS[window] / BUCKETS
    end
    draft[key] = counter
    draft[#draft + 1] = counter
  end
  counters[#counters + 1] = counter
end

local function draft_money(draft, counters, account, window, at_ms)
  local id, end_ms = window_at(window, at_ms)
  drafted(draft, counters, PREFIX .. 'spend:' .. account .. ':' .. window .. ':' .. id, account, 'money', window, end_ms)
end

-- The counters of a part of a lease that was reserved at that moment: those of every account, and those that `touched`
-- names, of which there was a limit.
local function counters_of(draft, accounts, touched, at_ms)
  local counters = {}
  for _, window in ipairs(ALWAYS) do
    for _, account in ipairs(accounts) do
      draft_money(draft, counters, account, window, at_ms)
    end
  end
  for account, kind, window in string.gmatch(touched, '(%S+) (%S+) (%S+)') do
    if kind == 'money' then
      draft_money(draft, counters, account, window, at_ms)
    else
      local key = PREFIX .. 'rate:' .. account .. ':' .. window .. ':' .. kind
      drafted(draft, counters, key, account, kind, window)
    end
  end
  return counters
end

-- The counters beside those of every account for which there is a limit, of those kinds: `touched`.
local function limited(accounts, limits, of_kind)
  local found = {}
  for _, account in ipairs(accounts) do
    for _, limit in ipairs(limits[account]) do
      if of_kind[limit.kind] and (limit.kind ~= 'money' or limit.window == 'minute') then
        found[#found + 1] = account .. ' ' .. limit.kind .. ' ' .. limit.window
      end
    end
  end
  return table.concat(found, '\n')
end

local function add(counters, spent, reserved, booked_ms)
  for _, counter in ipairs(counters) do
    counter.spent = counter.spent + spent[counter.kind]
    counter.reserved = counter.reserved + reserved[counter.kind]
    counter.booked_ms = booked_ms
  end
end

-- Where a counter stands before the draft.
local function stand(counter, now)
  if not counter.stands_spent then
    local stands = redis.call('HMGET', counter.key, 'spent', 'reserved', 'first')
    counter.stands_spent, counter.stands_reserved = tonumber(stands[1] or 0), tonumber(stands[2] or 0)
    if counter.bucket_ms then
      slide(counter, tonumber(stands[3] or nil), now)
    end
  end
end

-- Finds the limits of counters, and where they stand. One without a limit refuses nothing, and is not read.
local function weigh(counters, limits, now)
  for _, counter in ipairs(counters) do
    local of_kind = (limits[counter.account] or {})[counter.kind]
    local limit = of_kind and of_kind[counter.window]
    if limit then
      counter.hard, counter.soft = limit.hard, limit.soft
      stand(counter, now)
    end
  end
end

local function after(counter)
  return counter.stands_spent + counter.spent, counter.stands_reserved + counter.reserved
end

local function left_in(counter)
  local spent, reserved = after(counter)
  return counter.hard - spent - reserved
end

-- Whether a hard limit leaves less room than so many of the worst that may come. What is no part of that, as requests
-- are not, is not asked.
local function is_near(counters, factor, worst)
  for _, counter in ipairs(counters) do
    local most = worst[counter.kind]
    if counter.hard and most and left_in(counter) < factor * most then
      return true
    end
  end
  return false
end

-- When there may be room for what is needed, of which so much is to be reserved; math.huge: never. What others have only
-- reserved they may give back long before the window ends.
local function frees_at(counter, need, reserves, now)
  if need > counter.hard then
    return math.huge
  end
  local excess = -left_in(counter)
  if counter.bucket_ms then
    return leaves_at(counter, excess, now) or now + TRY_AGAIN_MS
  end
  local by_others = counter.stands_reserved + counter.reserved - reserves
  local end_ms = counter.end_ms or math.huge
  return excess <= by_others and math.min(now + TRY_AGAIN_MS, end_ms) or end_ms
end

local function state_of(counter, most, soft, spent, reserved)
  return {counter.account, counter.kind, counter.window, most, soft and 1 or 0, spent, reserved, counter.end_ms or -1}
end

-- The limit that the draft would pass, as a reply; nil when it passes none. `current` are the counters of now: the
-- others only fall. Of several limits it is the one that frees last, since to wait for another would be in vain. What
-- does not raise a counter is never refused: the counter may stand above a limit that was lowered.
local function refusal(current, books, reserves, now)
  local refuses, frees_ms
  for _, counter in ipairs(current) do
    if counter.hard and counter.spent + counter.reserved > 0 and left_in(counter) < 0 then
      local reserved = reserves[counter.kind]
      local frees = frees_at(counter, books[counter.kind] + reserved, reserved, now)
      if not refuses or frees > frees_ms then
        refuses, frees_ms = counter, frees
      end
    end
  end
  if refuses then
    local state = state_of(refuses, refuses.hard, false, refuses.stands_spent, refuses.stands_reserved)
    local need = books[refuses.kind] + reserves[refuses.kind]
    return {'exceeded', state, need, now, frees_ms < math.huge and frees_ms or -1}
  end
end

-- The soft limits that are passed with the draft.
local function passed(current)
  local states = {}
  for _, counter in ipairs(current) do
    if counter.soft then
      local spent, reserved = after(counter)
      if spent + reserved > counter.soft then
        states[#states + 1] = state_of(counter, counter.soft, true, spent, reserved)
      end
    end
  end
  return states
end

local function write_sliding(counter, now)
  stand(counter, now)
  if counter.spent ~= 0 then
    book_in_bucket(counter)
  end
  if counter.reserved ~= 0 then
    redis.call('HINCRBY', counter.key, 'reserved', counter.reserved)
  end
  redis.call('PEXPIRE', counter.key, SLIDING_MS[counter.window] + COUNTER_KEPT_MS)
end

local function write_fixed(counter, now)
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

local function write(draft, now)
  for _, counter in ipairs(draft) do
    if counter.spent ~= 0 or counter.reserved ~= 0 then
      if counter.bucket_ms then
        write_sliding(counter, now)
      else
        write_fixed(counter, now)
      end
    end
  end
end
