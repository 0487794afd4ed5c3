-- The limits of accounts, what they leave, and what they refuse; limit_entries.lua says how they are kept.

-- What is in the way may be gone at any moment, or not.
local TRY_AGAIN_MS = 1000

-- A request and its concurrency are counted where they were limited when it was reserved; money and tokens where they
-- are when a part of its lease is.
local OF_REQUEST = {requests = true, concurrency = true}
local OF_PART = {money = true, input_tokens = true, output_tokens = true}
local EVERY_KIND = {requests = true, concurrency = true, money = true, input_tokens = true, output_tokens = true}

-- By account the names KIND:WINDOW of its limits, in a list, and the most of each by name, hard and soft.
local function limits_of(accounts)
  local limits = {}
  for i, packed in ipairs(redis.call('HMGET', LIMITS, unpack(accounts))) do
    local found = {hard = {}, soft = {}}
    for name, strength, most in string.gmatch(packed or '', '([%l_]+:%l+):(%l+):(%d+)') do
      found[strength][name] = tonumber(most)
      found[#found + 1] = name
    end
    limits[accounts[i]] = found
  end
  return limits
end

-- The counters beside those of every account for which there is a limit, of those kinds: `touched`.
local function limited(accounts, limits, of_kind)
  local lines = {}
  for _, account in ipairs(accounts) do
    for _, name in ipairs(limits[account]) do
      local kind, window = string.match(name, '(.+):(.+)')
      local line = account .. ' ' .. kind .. ' ' .. window
      -- A soft limit and a hard one may have the same name.
      if of_kind[kind] and (kind ~= 'money' or window == 'minute') and not lines[line] then
        lines[line] = true
        lines[#lines + 1] = line
      end
    end
  end
  return table.concat(lines, '\n')
end

-- What a new part of a request touches, of which an older part touched that.
local function limited_part(record, limits, touched)
  local of_part = limited(record.accounts, limits, OF_PART)
  local lines = of_part ~= '' and {of_part} or {}
  for line in string.gmatch(touched, '[^\n]+') do
    if OF_REQUEST[string.match(line, ' (%S+) ')] then
      lines[#lines + 1] = line
    end
  end
  return table.concat(lines, '\n')
end

-- Finds the limits of counters, and where they stand. One without a limit refuses nothing, and is not read.
local function weigh(counters, limits, now)
  for _, counter in ipairs(counters) do
    local of_account = limits[counter.account]
    if of_account then
      local name = counter.kind .. ':' .. counter.window
      counter.hard, counter.soft = of_account.hard[name], of_account.soft[name]
      if counter.hard or counter.soft then
        stand(counter, now)
      end
    end
  end
end

local function after(counter)
  return counter.stands_spent + counter.spent, counter.stands_reserved + counter.reserved
end

-- What is wanted beyond leases stands in the way of those alone who are not let in yet.
local function weigh_wanted(counters, wanted)
  for _, counter in ipairs(counters) do
    if counter.hard then
      counter.wanted = wanted[counter.account]
    end
  end
end

-- Of the kind of a counter, how much is wanted with the draft, and how much of that the draft adds.
local function wanted_in(counter)
  local wanted = counter.wanted
  if not wanted then
    return 0, 0
  end
  local adds = wanted.adds[counter.kind]
  return wanted.stands[counter.kind] + adds, adds
end

local function left_in(counter)
  local spent, reserved = after(counter)
  return counter.hard - spent - reserved - wanted_in(counter)
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

-- When so much of what is spent will have left the window; nil when all of it is less.
local function leaves_at(counter, excess, now)
  local buckets = numbers(counter.oldest, math.floor(now / counter.bucket_ms))
  for i, spent in ipairs(redis.call('HMGET', counter.key, unpack(buckets))) do
    excess = excess - (spent or 0)
    if excess <= 0 then
      return (buckets[i] + BUCKETS + 1) * counter.bucket_ms
    end
  end
end

-- When there may be room for what is needed, when others hold so much, which they may give back long before the window
-- ends; math.huge: never.
local function frees_at(counter, need, by_others, now)
  if need > counter.hard then
    return math.huge
  end
  local excess, soon = -left_in(counter), now + TRY_AGAIN_MS
  if excess <= by_others then
    return math.min(soon, counter.end_ms or math.huge)
  end
  if counter.bucket_ms then
    return leaves_at(counter, excess, now) or soon
  end
  return counter.end_ms or math.huge
end

local function state_of(counter, most, soft, spent, reserved)
  return {counter.account, counter.kind, counter.window, most, soft and 1 or 0, spent, reserved, counter.end_ms or -1}
end

-- The limit that the draft would pass, as a reply; nil when it passes none. `current` are the counters of now: the
-- others only fall. `takes` is what is reserved, and what may be wanted beyond it. Of several limits it is the one that
-- frees last, since to wait for another would be in vain. What does not raise a counter is never refused: the counter
-- may stand above a limit that was lowered.
local function refusal(current, books, takes, now)
  local refuses, frees_ms
  for _, counter in ipairs(current) do
    local wanted, wants = wanted_in(counter)
    if counter.hard and counter.spent + counter.reserved + wants > 0 and left_in(counter) < 0 then
      local by_others = counter.stands_reserved + counter.reserved + wanted - takes[counter.kind]
      local frees = frees_at(counter, books[counter.kind] + takes[counter.kind], by_others, now)
      if not refuses or frees > frees_ms then
        refuses, frees_ms = counter, frees
      end
    end
  end
  if refuses then
    local wanted, wants = wanted_in(refuses)
    local held = refuses.stands_reserved + wanted - wants
    local state = state_of(refuses, refuses.hard, false, refuses.stands_spent, held)
    local need = books[refuses.kind] + takes[refuses.kind]
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
