-- What every verb of the ledger is written in. The adapter puts this file in front of each verb's own, and each such
-- script is one atomic step over one organisation.
--
-- KEYS  1 clock · 2 limits · 3 leases · 4 receipts · 5 … the reservations that the verb names
-- ARGV  1 what the organisation's keys begin with · 2 the time in ms, for tests alone · 3 … the verb's, name by value
--
-- Two kinds of keys are built here and not passed: counters, whose names depend on the time that this script reads, and
-- reservations that it finds expired. All keys begin with the organisation's hash tag, so on a cluster they lie in the
-- slot of KEYS.
--
-- Money is whole micro-dollars. A Lua number is a double, exact to 2^53; domain/money.py bounds what comes in.

local CLOCK, LIMITS, LEASES, RECEIPTS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local PREFIX = ARGV[1]
local MINUTE_MS, HOUR_MS, DAY_MS = 60000, 3600000, 86400000
-- A closed reservation answers repeated and late calls for so long. Redis drops it an hour later.
local REMEMBERED_MS = DAY_MS
local RECORD_KEPT_MS = REMEMBERED_MS + HOUR_MS
-- A counter outlives its window by the longest lease (a day), the time for corrections (a day), and a day.
local COUNTER_KEPT_MS = 3 * DAY_MS
-- So that a call of an organisation that was away with thousands of leases is not the one that pays for all.
local SWEPT_AT_ONCE = 50

local swept = {leases = 0, presumed = 0}

local args = {}
for i = 3, #ARGV, 2 do
  args[ARGV[i]] = ARGV[i + 1]
end

-- Time ---------------------------------------------------------------------------------------------------------------

-- Never before the organisation's high-water mark: a clock that steps back, a failover to a host whose clock is behind,
-- would else open a window anew that was spent already.
local function read_time()
  local now
  if ARGV[2] ~= '' then
    now = tonumber(ARGV[2])
  else
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  local mark = tonumber(redis.call('GET', CLOCK) or 0)
  return math.max(now, mark), now > mark
end

local function advance_clock()
  local now, is_later = read_time()
  if is_later then
    redis.call('SET', CLOCK, now)
  end
  return now
end

local MONTH_DAYS = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

local function leap_days_before(year)
  local last = year - 1
  return math.floor(last / 4) - math.floor(last / 100) + math.floor(last / 400)
end

local function days_before(year)
  return 365 * (year - 1970) + leap_days_before(year) - leap_days_before(1970)
end

-- Year, month, day of the month and length of the month of a day counted from 1970-01-01.
local function date_of(day)
  local year = 1970 + math.floor(day / 365.2425)
  -- The mean year is off by a day at most, near the first of January.
  if days_before(year) > day then
    year = year - 1
  elseif days_before(year + 1) <= day then
    year = year + 1
  end
  local is_leap = days_before(year + 1) - days_before(year) == 366
  local rest, month = day - days_before(year), 1
  while true do
    local length = (month == 2 and is_leap) and 29 or MONTH_DAYS[month]
    if rest < length then
      return year, month, rest + 1, length
    end
    rest, month = rest - length, month + 1
  end
end

-- The window in which that moment lies: its id, as domain/windows.py names it, and its end; a total has no end.
local function window_at(window, at_ms)
  if window == 'total' then
    return 'total', nil
  end
  local day = math.floor(at_ms / DAY_MS)
  local year, month, month_day, length = date_of(day)
  local id = string.format('%04d%02d', year, month)
  if window == 'month' then
    return id, (day - month_day + 1 + length) * DAY_MS
  end
  id = id .. string.format('%02d', month_day)
  if window == 'day' then
    return id, (day + 1) * DAY_MS
  end
  local hour = math.floor(at_ms / HOUR_MS)
  id = id .. string.format('T%02d', hour % 24)
  if window == 'hour' then
    return id, (hour + 1) * HOUR_MS
  end
  local minute = math.floor(at_ms / MINUTE_MS)
  return id .. string.format('%02d', minute % 60), (minute + 1) * MINUTE_MS
end

-- Money --------------------------------------------------------------------------------------------------------------

local TOKENS_PER_PRICE = 1000000

-- Rounded up once, over all tokens. Prices are split into whole micro-dollars a token and the rest, so that no product
-- passes 2^53.
local function cost(record, input, cached, output)
  local whole, rest = 0, 0
  local function add(tokens, price)
    whole = whole + tokens * math.floor(price / TOKENS_PER_PRICE)
    rest = rest + tokens * (price % TOKENS_PER_PRICE)
  end
  add(input - cached, record.price_input)
  add(cached, record.price_cached)
  add(output, record.price_output)
  local remainder = rest % TOKENS_PER_PRICE
  return whole + (rest - remainder) / TOKENS_PER_PRICE + (remainder > 0 and 1 or 0)
end

-- What the request costs once it has delivered so many output tokens. While the input is not counted, its upper bound
-- stands for it, at the higher of its two prices.
local function cost_at(record, output)
  if record.input > 0 then
    return cost(record, record.input, record.cached, output)
  end
  local cached = record.price_cached > record.price_input and record.max_input or 0
  return cost(record, record.max_input, cached, output)
end

-- Counters -----------------------------------------------------------------------------------------------------------

-- A draft holds what a step is about to change in each counter: weighed as a whole, then written, or dropped.
-- It is a list of counters, each also found by its key.
local function add_to(draft, record, at_ms, spent, reserved)
  local touched = {}
  for window in string.gmatch(record.windows, '%S+') do
    local id, end_ms = window_at(window, at_ms)
    for account in string.gmatch(record.accounts, '%S+') do
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
-- others only fall. Of several limits it is the one that frees last, since to wait for another would be in vain. What does
-- not raise a counter is never refused: the counter may stand above a limit that was lowered.
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

-- Reservations -------------------------------------------------------------------------------------------------------

-- The live part of a lease is `reserved`, held in the windows of `part_ms`; `booked` is what earlier parts have cost.
local NUMBERS = {
  price_input = true, price_cached = true, price_output = true, max_input = true, max_output = true, leased = true,
  reserved = true, booked = true, part_ms = true, expires_ms = true, seq = true, input = true, cached = true,
  output = true, closed_ms = true, booked_at_ms = true,
  known_input = true, known_cached = true, known_output = true,
  presumed = true, released = true, uncovered = true,
}

local function record_key(id)
  return PREFIX .. 'reservation:' .. id
end

local function save(record)
  local flat = {}
  for name, value in pairs(record) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  redis.call('HSET', record_key(record.id), unpack(flat))
end

-- Books `spent` of the live part, in the draft, and returns the rest of it.
local function end_part(draft, record, spent)
  add_to(draft, record, record.part_ms, spent, -record.reserved)
  record.booked = record.booked + spent
  record.reserved = 0
  if spent == 0 then
    return
  end
  -- `bookings` says what was booked in which minute, so that every counter can be recomputed from the receipts.
  local minute = math.floor(record.part_ms / MINUTE_MS)
  local before, last, sum = string.match(record.bookings, '^(.-)(%d+)=(%d+)$')
  if last and tonumber(last) == minute then
    spent = spent + sum
  else
    before = record.bookings == '' and '' or record.bookings .. ' '
  end
  record.bookings = before .. string.format('%.0f=%.0f', minute, spent)
end

local function write_receipt(record, now, bookings)
  redis.call('XADD', RECEIPTS, '*',
    'reservation_id', record.id, 'request_id', record.request_id,
    'key_id', record.key_id, 'user', record.user, 'team', record.team, 'model', record.model,
    'price_input', record.price_input, 'price_cached', record.price_cached, 'price_output', record.price_output,
    'price_version', record.price_version,
    'input', record.input, 'cached', record.cached, 'output', record.output, 'source', record.source,
    'cost', record.booked, 'uncovered', record.uncovered, 'outcome', record.outcome, 'why', record.why,
    'bookings', bookings, 'booked_at_ms', now)
end

local function close(record, now, state, outcome)
  record.state, record.outcome, record.closed_ms, record.booked_at_ms = state, outcome, now, now
  save(record)
  redis.call('ZREM', LEASES, record.id)
  redis.call('PEXPIRE', record_key(record.id), RECORD_KEPT_MS)
  write_receipt(record, now, record.bookings)
end

-- A lease ran out: its router may have delivered all that it covered, so all of it is booked.
local function presume(record, now)
  swept.leases, swept.presumed = swept.leases + 1, swept.presumed + record.reserved
  record.presumed = record.reserved
  local draft = {}
  end_part(draft, record, record.reserved)
  write(draft, now)
  record.known_input, record.known_cached, record.known_output = record.input, record.cached, record.output
  record.known_source = record.source
  if record.input == 0 then
    record.input = record.max_input
  end
  record.output, record.source = math.max(record.output, record.leased), 'PRESUMED'
  close(record, now, 'expired', 'PRESUMED')
end

-- A live router's late word lowers what was presumed, where it was booked. Never what an Extend has booked, and never
-- upwards. Returns by how much.
local function correct(record, now, actual_cost, input, cached, output, source)
  local lower = math.min(record.presumed, math.max(0, record.booked - actual_cost))
  if lower > 0 then
    local draft = {}
    add_to(draft, record, record.part_ms, -lower, 0)
    write(draft, now)
    record.booked, record.outcome, record.booked_at_ms = record.booked - lower, 'CORRECTED', now
    record.input, record.cached, record.output, record.source = input, cached, output, source
    local minute = math.floor(record.part_ms / MINUTE_MS)
    write_receipt(record, now, string.format('%.0f=-%.0f', minute, lower))
  end
  return lower
end

-- The reservation as it stands now; nil when there is none, or it was closed too long ago.
local function read(id, now)
  local flat = redis.call('HGETALL', record_key(id))
  if #flat == 0 then
    return nil
  end
  local record = {}
  for i = 1, #flat, 2 do
    record[flat[i]] = NUMBERS[flat[i]] and tonumber(flat[i + 1]) or flat[i + 1]
  end
  if record.state == 'open' then
    if record.expires_ms <= now then
      presume(record, now)
    end
  elseif record.closed_ms + REMEMBERED_MS <= now then
    redis.call('DEL', record_key(id))
    return nil
  end
  return record
end

-- Every call closes expired leases of its organisation, so that none needs the sweeper to be right.
local function sweep(now)
  local expired = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, SWEPT_AT_ONCE)
  for _, id in ipairs(expired) do
    read(id, now)
  end
end

-- Replies ------------------------------------------------------------------------------------------------------------

-- Each begins with what was swept on the way.
local function reply(answer)
  return {swept.leases, swept.presumed, unpack(answer)}
end

local function lease_reply(record, now)
  local whole = record.leased >= record.max_output and 1 or 0
  return reply({'lease', record.leased, record.expires_ms - now, record.reserved, whole})
end

local function receipt_reply(record)
  return reply({
    'receipt', record.request_id, record.key_id, record.model,
    record.price_input, record.price_cached, record.price_output, record.price_version,
    record.input, record.cached, record.output, record.source,
    record.booked, record.outcome, record.why, record.uncovered, record.booked_at_ms,
  })
end

local now = advance_clock()
sweep(now)
