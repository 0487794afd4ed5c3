-- What each account has used and reserved, by kind and window: money in a hash a window of the calendar, with a field
-- an account, `USED RESERVED`; anything else in a hash a counter, by sliding.lua.

-- A counter outlives its window by the longest lease (a day), the time for corrections (a day), and a day.
local COUNTER_KEPT_MS = 3 * DAY_MS
-- Money is counted in these for every account; everything else where there is a limit for it.
local ALWAYS = {'hour', 'day', 'month', 'total'}

-- A draft holds what a step is about to change: weighed as a whole, then written, or dropped. It is a list of pages,
-- each also found by its name. A page is the counters of one kind and window that change by the same, `spent` and
-- `reserved`: one an account. All parts of a draft are of the same accounts. Where its counters stood before the draft
-- is in `used` and `held`, by the place of the account; false until somebody asks.
local function drafted(draft, name, page)
  draft[name], draft[#draft + 1] = page, page
  return page
end

-- Pages are written out, for a table that grows costs as much again.
local function money_page(draft, window, at_ms, accounts)
  local id, end_ms = window_at(window, at_ms)
  local key = PREFIX .. 'spent:' .. window .. ':' .. id
  -- By the minute it is counted for some accounts, and others in the next part of the request.
  local name = window == 'minute' and key .. accounts[1] or key
  return draft[name] or drafted(draft, name, {
    key = key, kind = 'money', accounts = accounts, end_ms = end_ms or false, spent = 0, reserved = 0, used = false,
    held = false,
  })
end

local function rate_page(draft, kind, window, account)
  local key = PREFIX .. 'rate:' .. account .. ':' .. window .. ':' .. kind
  return draft[key] or drafted(draft, key, {
    key = key, kind = kind, accounts = {account}, end_ms = false, spent = 0, reserved = 0, used = false, held = false,
    window_ms = SLIDING_MS[window], bucket_ms = false, oldest = false, first = false, booked_ms = false,
  })
end

-- The pages of a part of a lease that was reserved at that moment: those of every account, found by their window, and
-- those that `touched` names, of which there was a limit, found by their line of it.
local function pages_of(draft, accounts, touched, at_ms)
  local pages = {false, false, false, false, hour = false, day = false, month = false, total = false}
  for i, window in ipairs(ALWAYS) do
    local page = money_page(draft, window, at_ms, accounts)
    pages[i], pages[window] = page, page
  end
  for account, kind, window in string.gmatch(touched, '(%S+) (%S+) (%S+)') do
    local is_money = kind == 'money'
    local page = is_money and money_page(draft, window, at_ms, {account}) or rate_page(draft, kind, window, account)
    pages[#pages + 1], pages[account .. ' ' .. kind .. ' ' .. window] = page, page
  end
  return pages
end

local function add(pages, spent, reserved, booked_ms)
  for _, page in ipairs(pages) do
    page.spent = page.spent + spent[page.kind]
    page.reserved = page.reserved + reserved[page.kind]
    if page.window_ms then
      page.booked_ms = booked_ms
    end
  end
end

local function stand_money(page)
  page.used, page.held = {}, {}
  for i, stands in ipairs(redis.call('HMGET', page.key, unpack(page.accounts))) do
    local used, held = string.match(stands or '0 0', '(%S+) (%S+)')
    page.used[i], page.held[i] = used + 0, held + 0
    page.is_new = page.is_new or not stands
  end
end

-- Where the counters of a page stand before the draft.
local function stand(page, now)
  if page.used then
    return
  end
  if page.kind == 'money' then
    stand_money(page)
  else
    stand_rate(page, now)
  end
end

local function write_money(page, now)
  local fields = {}
  for i, account in ipairs(page.accounts) do
    fields[2 * i - 1] = account
    fields[2 * i] = string.format('%d %d', page.used[i] + page.spent, page.held[i] + page.reserved)
  end
  redis.call('HSET', page.key, unpack(fields))
  -- With an account's first, not at a date: a test's time is its own.
  if page.is_new and page.end_ms then
    redis.call('PEXPIRE', page.key, page.end_ms - now + COUNTER_KEPT_MS)
  end
end

local function write(draft, now)
  write_wanted()
  for _, page in ipairs(draft) do
    if page.spent ~= 0 or page.reserved ~= 0 then
      stand(page, now)
      if page.kind == 'money' then
        write_money(page, now)
      else
        write_rate(page)
      end
    end
  end
end
