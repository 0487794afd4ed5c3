-- Sliding windows: a counter whose `spent` is the sum of buckets, each a field that is named by its number. `first` is
-- a bucket before which there is none. What has left the window is taken from the sum when a call next looks, so a call
-- pays for the buckets that have left since the last one.

local SLIDING_MS = {minute = MINUTE_MS, hour = HOUR_MS, day = DAY_MS, month = 30 * DAY_MS}
-- domain/windows.py says what they are and what they cost.
local BUCKETS = 60

-- The numbers of the buckets from the one to the other.
local function numbers(first, last)
  local found = {}
  for number = first, last do
    found[#found + 1] = number
  end
  return found
end

-- Takes from the counter what has left the window by now.
local function slide(counter, first, now)
  counter.oldest = math.floor(now / counter.bucket_ms) - BUCKETS
  if not first or first >= counter.oldest then
    return
  end
  -- No call leaves buckets that lie further apart.
  local gone = numbers(first, math.min(counter.oldest - 1, first + BUCKETS))
  for _, spent in ipairs(redis.call('HMGET', counter.key, unpack(gone))) do
    counter.stands_spent = counter.stands_spent - (spent or 0)
  end
  redis.call('HDEL', counter.key, unpack(gone))
  redis.call('HSET', counter.key, 'first', counter.oldest, 'spent', counter.stands_spent)
end

-- Books in the bucket of the moment; what has left the window needs no correction.
local function book_in_bucket(counter)
  local bucket = math.floor(counter.booked_ms / counter.bucket_ms)
  if bucket >= counter.oldest then
    redis.call('HSETNX', counter.key, 'first', counter.oldest)
    redis.call('HINCRBY', counter.key, bucket, counter.spent)
    redis.call('HINCRBY', counter.key, 'spent', counter.spent)
  end
end
