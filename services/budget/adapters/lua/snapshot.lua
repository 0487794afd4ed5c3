-- What can be compared, at one instant: the receipts after `after`, the open reservations, these counters and this day.
-- Reads only.

local last_trimmed = redis.call('HGET', PREFIX .. 'trimmed', 'last') or '0-0'
local receipts = redis.call('XRANGE', RECEIPTS, '(' .. args.after, '+', 'COUNT', args.most)

local counters, opened = {}, {}
for i, name in ipairs(args.counters) do
  counters[i] = redis.call('HMGET', PREFIX .. name, 'spent', 'reserved')
end
if #args.counters > 0 then
  for i, id in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
    opened[i] = redis.call('HMGET', PREFIX .. 'reservation:' .. id, 'asked', 'bookings', 'reserved', 'part_ms')
  end
end
local day = args.day ~= '' and redis.call('HGETALL', PREFIX .. 'days:' .. args.day) or {}
return {redis.call('GET', CLOCK) or '0', last_trimmed, receipts, counters, opened, day}
