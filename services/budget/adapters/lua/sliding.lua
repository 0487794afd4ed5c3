-- What is counted for a limit alone, a hash a counter. Over a sliding window `spent` is the sum of buckets, each a
-- field that is named by its number, and `first` is a bucket before which there is none. What has left the window is
-- taken from the sum when a call next looks, so a call pays for the buckets that have left since the last one. In total
-- there are no buckets.

-- Of a total there is none.
local SLIDING_MS = {minute = MINUTE_MS, hour = HOUR_MS, day = DAY_MS, month = 30 * DAY_MS}
-- domain/windows.py says what they are and what they cost.
local BUCKETS = 60
-- As long as those of money, and for its reasons: counters.lua.
local RATE_KEPT_MS = 3 * DAY_MS

-- The numbers of the buckets from the one to the other.
local function numbers(first, last)
  local found = {}
  for number = first, last do
    found[#found + 1] = number
  end
  return found
end

-- Takes from the counter what has left the window by now.
local function slide(page, now)
  page.bucket_ms = page.window_ms / BUCKETS
  page.oldest = math.floor(now / page.bucket_ms) - BUCKETS
  if not page.first or page.first >= page.oldest then
    return
  end
  -- No call leaves buckets that lie further apart.
  local gone = numbers(page.first, math.min(page.oldest - 1, page.first + BUCKETS))
  for _, spent in ipairs(redis.call('HMGET', page.key, unpack(gone))) do
    page.used[1] = page.used[1] - (spent or 0)
  end
  page.first = page.oldest
  redis.call('HDEL', page.key, unpack(gone))
  redis.call('HSET', page.key, 'first', page.first, 'spent', page.used[1])
end

local function stand_rate(page, now)
  local spent, reserved, first = unpack(redis.call('HMGET', page.key, 'spent', 'reserved', 'first'))
  page.used, page.held = {(spent or 0) + 0}, {(reserved or 0) + 0}
  if page.window_ms then
    page.first = first and first + 0
    slide(page, now)
  end
end

-- Books in the bucket of the moment; what has left the window needs no correction. Returns the fields that change by
-- it.
local function book_in_bucket(page)
  local bucket = math.floor(page.booked_ms / page.bucket_ms)
  if bucket < page.oldest then
    return {}
  end
  redis.call('HINCRBY', page.key, bucket, page.spent)
  local fields = {'spent', page.used[1] + page.spent}
  if not page.first then
    fields[3], fields[4] = 'first', page.oldest
  end
  return fields
end

local function write_rate(page)
  local fields = {}
  if page.spent ~= 0 then
    fields = page.window_ms and book_in_bucket(page) or {'spent', page.used[1] + page.spent}
  end
  if page.reserved ~= 0 then
    fields[#fields + 1] = 'reserved'
    fields[#fields + 1] = page.held[1] + page.reserved
  end
  if #fields > 0 then
    redis.call('HSET', page.key, unpack(fields))
  end
  if page.window_ms then
    redis.call('PEXPIRE', page.key, page.window_ms + RATE_KEPT_MS)
  end
end
