-- What each account has used and reserved, by kind and window.

-- A counter outlives its window by the longest lease (a day), the time for corrections (a day), and a day.
local COUNTER_KEPT_MS = 3 * DAY_MS
-- Money is counted in these for every account; everything else where there is a limit for it.
local ALWAYS = {'hour', 'day', 'month', 'total'}

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
  local key = PREFIX .. 'spend:' .. account .. ':' .. window .. ':' .. id
  drafted(draft, counters, key, account, 'money', window, end_ms)
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

local function add(counters, spent, reserved, booked_ms)
  for _, counter in ipairs(counters) do
    counter.spent = counter.spent + spent[counter.kind]
    counter.reserved = counter.reserved + reserved[counter.kind]
    if counter.bucket_ms then
      counter.booked_ms = booked_ms
    end
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
  write_wanted()
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
