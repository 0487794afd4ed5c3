-- What was booked on each day (UTC), by key, user, team and model: kept as it is booked, so that nobody has to read the
-- whole ledger for it.

local DAYS_KEPT_MS = 400 * DAY_MS
-- What is summed, in this order, as text with blanks between. Of the cost, what is presumed and what an estimate of
-- the router has counted are said apart.
local REQUESTS, INPUT, CACHED, OUTPUT, COST, PRESUMED, ESTIMATED = 1, 2, 3, 4, 5, 6, 7
local MEASURES = 7

-- What a reservation that has ended stands for, in all but money: that stands in its bookings. A reservation that was
-- released is no request: another one answered it, or the cache did.
local function counts(record, input, cached, output, source)
  local presumed = record.outcome == 'PRESUMED'
  return {
    [REQUESTS] = (presumed or record.state ~= 'released') and 1 or 0,
    [INPUT] = input, [CACHED] = cached, [OUTPUT] = output, [COST] = 0,
    [PRESUMED] = presumed and record.presumed.money or 0,
    [ESTIMATED] = source == 'ESTIMATED' and record.booked.money or 0,
  }
end

local function packed(measures)
  return string.format('%d %d %d %d %d %d %d', unpack(measures))
end

local PACKED = '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$'

local function unpacked(text)
  local measures = {string.match(text, PACKED)}
  for i, number in ipairs(measures) do
    measures[i] = tonumber(number)
  end
  return measures
end

-- Of a receipt, beyond what an earlier one of the same reservation has counted. Nil when that is nothing.
local function counted_by(measures, before)
  local any = false
  for i = 1, MEASURES do
    measures[i] = measures[i] - (before and before[i] or 0)
    any = any or measures[i] ~= 0
  end
  return any and measures or nil
end

local function add_to_day(sums, field, day, measures, now)
  local key = PREFIX .. sums .. ':' .. day.id
  local stands = redis.call('HGET', key, field)
  if stands then
    for i, before in ipairs(unpacked(stands)) do
      measures[i] = measures[i] + before
    end
  end
  redis.call('HSET', key, field, packed(measures))
  if not stands then
    redis.call('PEXPIRE', key, day.end_ms - now + DAYS_KEPT_MS)
  end
end

-- Adds what a receipt stands for: the money on the days on which it was booked, everything else on that of `minute`,
-- when the last lease was given, for a late correction must find it there. `sums` is `days`, or `trimmed` for those of
-- receipts that are no longer in the ledger; `receipt` has the names.
local function add_to_days(sums, receipt, minute, measures, bookings, now)
  local field = receipt.key_id .. '\n' .. receipt.user .. '\n' .. receipt.team .. '\n' .. receipt.model
  local last = day_at(minute * MINUTE_MS)
  for booked, money in string.gmatch(bookings, '(%d+)=(-?%d+)') do
    local day = day_at(booked * MINUTE_MS)
    if day == last then
      measures = measures or {0, 0, 0, 0, 0, 0, 0}
      measures[COST] = measures[COST] + money
    else
      add_to_day(sums, field, day, {0, 0, 0, 0, tonumber(money), 0, 0}, now)
    end
  end
  if measures then
    add_to_day(sums, field, last, measures, now)
  end
end
