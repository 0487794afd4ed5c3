-- The limits of accounts, what they leave, and what they refuse; limit_entries.lua says how they are kept.

-- What is in the way may be gone at any moment, or not.
local TRY_AGAIN_MS = 1000

-- A request and its concurrency are counted where they were limited when it was reserved; money and tokens where they
-- are when a part of its lease is.
local OF_REQUEST = {requests = true, concurrency = true}
local OF_PART = {money = true, input_tokens = true, output_tokens = true}
local EVERY_KIND = {requests = true, concurrency = true, money = true, input_tokens = true, output_tokens = true}

-- The limits of these accounts, a list; `place` is the account's, `at` its place in the page.
local function limits_of(accounts)
  local limits = {}
  for place, packed in ipairs(redis.call('HMGET', LIMITS, unpack(accounts))) do
    for kind, window, strength, most in string.gmatch(packed or '', '([%l_]+):(%l+):(%l+):(%d+)') do
      limits[#limits + 1] = {
        account = accounts[place], place = place, kind = kind, window = window, soft = strength == 'soft',
        most = most + 0, page = false, at = 1,
      }
    end
  end
  return limits
end

-- Whether only a limit has it counted.
local function is_conditional(limit)
  return limit.kind ~= 'money' or limit.window == 'minute'
end

local function line_of(limit)
  return limit.account .. ' ' .. limit.kind .. ' ' .. limit.window
end

-- The counters beside those of every account for which there is a limit, of those kinds: `touched`.
local function limited(limits, of_kind)
  local lines = {}
  for _, limit in ipairs(limits) do
    if of_kind[limit.kind] and is_conditional(limit) then
      local line = line_of(limit)
      -- A soft limit and a hard one may have the same name.
      if not lines[line] then
        lines[line] = true
        lines[#lines + 1] = line
      end
    end
  end
  return table.concat(lines, '\n')
end

-- What a new part of a request touches, of which an older part touched that.
local function limited_part(limits, touched)
  local of_part = limited(limits, OF_PART)
  local lines = of_part ~= '' and {of_part} or {}
  for line in string.gmatch(touched, '[^\n]+') do
    if OF_REQUEST[string.match(line, ' (%S+) ')] then
      lines[#lines + 1] = line
    end
  end
  return table.concat(lines, '\n')
end

-- Finds the counters of limits among those pages, and where they stand.
local function weigh(limits, pages, now)
  for _, limit in ipairs(limits) do
    local page = pages[is_conditional(limit) and line_of(limit) or limit.window]
    if page then
      stand(page, now)
      -- What only a limit has counted is a page an account.
      limit.page, limit.at = page, is_conditional(limit) and 1 or limit.place
    end
  end
end

-- Of a limit's counter, before the draft and with it; both used and reserved.
local function before(limit)
  return limit.page.used[limit.at], limit.page.held[limit.at]
end

local function after(limit)
  local used, held = before(limit)
  return used + limit.page.spent, held + limit.page.reserved
end

-- Of the kind of a limit, how much is wanted with the draft, and how much of that the draft adds. That stands in the
-- way of those alone who are not let in yet: `wants` is false for others.
local function wanted_in(limit, wants)
  local adds = wants and wanted[limit.kind]
  if not adds then
    return 0, 0
  end
  stand_wanted()
  return wanted.stands[limit.kind][limit.place] + adds, adds
end

local function left_in(limit, wants)
  local used, held = after(limit)
  return limit.most - used - held - wanted_in(limit, wants)
end

-- When so much of what is spent will have left the window; nil when all of it is less.
local function leaves_at(page, excess, now)
  local buckets = numbers(page.oldest, math.floor(now / page.bucket_ms))
  for i, spent in ipairs(redis.call('HMGET', page.key, unpack(buckets))) do
    excess = excess - (spent or 0)
    if excess <= 0 then
      return (buckets[i] + BUCKETS + 1) * page.bucket_ms
    end
  end
end

-- When there may be room for what is needed, when so much is missing and others hold so much, which they may give back
-- long before the window ends; math.huge: never.
local function frees_at(limit, need, excess, by_others, now)
  if need > limit.most then
    return math.huge
  end
  local soon, end_ms = now + TRY_AGAIN_MS, limit.page.end_ms or math.huge
  if excess <= by_others then
    return math.min(soon, end_ms)
  end
  if limit.page.bucket_ms then
    return leaves_at(limit.page, excess, now) or soon
  end
  return end_ms
end

local function state_of(limit, used, held)
  return {
    limit.account, limit.kind, limit.window, limit.most, limit.soft and 1 or 0, used, held, limit.page.end_ms or -1,
  }
end

-- Whether the draft passes it. What does not raise a counter is never refused: the counter may stand above a limit that
-- was lowered. A counter and what is wanted beside it are each held to that: less that is wanted lets no more be held.
local function is_passed(limit, wants)
  local left = left_in(limit, wants)
  if left >= 0 then
    return false
  end
  local raises = limit.page.spent + limit.page.reserved
  local of_all, adds = wanted_in(limit, wants)
  return raises + adds > 0 or (raises > 0 and left + of_all < 0)
end

-- The hard limit that the draft would pass, as a reply; nil when it passes none. `takes` is what is reserved, and what
-- may be wanted beyond it, where `wants`. Of several limits it is the one that frees last, since to wait for another
-- would be in vain.
local function refusal(limits, books, takes, wants, now)
  local refuses, frees_ms
  for _, limit in ipairs(limits) do
    if limit.page and not limit.soft and is_passed(limit, wants) then
      local _, held = after(limit)
      local by_others = held + wanted_in(limit, wants) - takes[limit.kind]
      local need = books[limit.kind] + takes[limit.kind]
      local frees = frees_at(limit, need, -left_in(limit, wants), by_others, now)
      if not refuses or frees > frees_ms then
        refuses, frees_ms = limit, frees
      end
    end
  end
  if refuses then
    local used, held = before(refuses)
    local of_all, adds = wanted_in(refuses, wants)
    local need = books[refuses.kind] + takes[refuses.kind]
    local state = state_of(refuses, used, held + of_all - adds)
    return {'exceeded', state, need, now, frees_ms < math.huge and frees_ms or -1}
  end
end

-- The soft limits that are passed with the draft.
local function passed(limits)
  local states = {}
  for _, limit in ipairs(limits) do
    if limit.page and limit.soft then
      local used, held = after(limit)
      if used + held > limit.most then
        states[#states + 1] = state_of(limit, used, held)
      end
    end
  end
  return states
end
