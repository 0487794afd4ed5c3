-- Calendar windows in UTC, the same as domain/windows.py: Redis has no dates.

local MINUTE_MS, HOUR_MS, DAY_MS = 60000, 3600000, 86400000
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

-- What was worked out for a day: a call asks for the same one again and again.
local days = {}

local function day_at(at_ms)
  local day = math.floor(at_ms / DAY_MS)
  local found = days[day]
  if not found then
    local year, month, month_day, length = date_of(day)
    local month_id = string.format('%04d%02d', year, month)
    found = {
      month_id = month_id,
      month_end_ms = (day - month_day + 1 + length) * DAY_MS,
      id = month_id .. string.format('%02d', month_day),
      end_ms = (day + 1) * DAY_MS,
    }
    days[day] = found
  end
  return found
end

-- The window in which that moment lies: its id, as domain/windows.py names it, and its end; a total has no end.
local function window_at(window, at_ms)
  if window == 'total' then
    return 'total', nil
  end
  local day = day_at(at_ms)
  if window == 'month' then
    return day.month_id, day.month_end_ms
  end
  if window == 'day' then
    return day.id, day.end_ms
  end
  local hour = math.floor(at_ms / HOUR_MS)
  if window == 'hour' then
    return string.format('%sT%02d', day.id, hour % 24), (hour + 1) * HOUR_MS
  end
  local minute = math.floor(at_ms / MINUTE_MS)
  return string.format('%sT%02d%02d', day.id, hour % 24, minute % 60), (minute + 1) * MINUTE_MS
end
