-- What can be compared, at one instant: the receipts after `after`, the open reservations and what they may want, these
-- counters, by `spend` or `rate`, and this day.
-- Reads only.

local OF_OPEN = {'asked', 'bookings', 'noted', 'touched', 'reserved', 'wanted', 'part_ms'}

local last_trimmed = redis.call('HGET', PREFIX .. 'trimmed', 'last') or '0-0'
local receipts = redis.call('XRANGE', RECEIPTS, '(' .. args.after, '+', 'COUNT', args.most)

local counters, rates, opened, wanted = {}, {}, {}, {}
for i, name in ipairs(args.counters) do
  counters[i] = redis.call('HMGET', PREFIX .. name, 'spent', 'reserved')
end
for i, name in ipairs(args.rates) do
  rates[i] = redis.call('HGETALL', PREFIX .. name)
end
if #args.counters + #args.rates > 0 then
  for i, id in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
    opened[i] = redis.call('HMGET', PREFIX .. 'reservation:' .. id, unpack(OF_OPEN))
  end
  wanted = redis.call('HGETALL', WANTED)
end
local day = args.day ~= '' and redis.call('HGETALL', PREFIX .. 'days:' .. args.day) or {}
return {redis.call('GET', CLOCK) or '0', last_trimmed, receipts, counters, rates, opened, wanted, day}
