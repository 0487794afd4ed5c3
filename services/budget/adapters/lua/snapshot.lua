-- What can be compared, at one instant: the receipts after `after`, the open reservations and what they may want, these
-- counters, of money, each `{page, account}`, or `rate`, and this day.
-- Reads only.

local last_trimmed = redis.call('HGET', PREFIX .. 'trimmed', 'last') or '0-0'
local receipts = redis.call('XRANGE', RECEIPTS, '(' .. args.after, '+', 'COUNT', args.most)

local counters, rates, opened, wanted = {}, {}, {}, {}
for i, name in ipairs(args.counters) do
  counters[i] = redis.call('HGET', PREFIX .. name[1], name[2])
end
for i, name in ipairs(args.rates) do
  rates[i] = redis.call('HGETALL', PREFIX .. name)
end

-- In the order of lua/amounts.lua.
local function in_order(of)
  return {of.money, of.input_tokens, of.output_tokens, of.requests, of.concurrency}
end

if #args.counters + #args.rates > 0 then
  for _, id in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
    local packed = redis.call('GET', PREFIX .. 'reserved:' .. id)
    -- One that somebody deleted is missing in the counters, and found there.
    if packed then
      local record = cmsgpack.unpack(packed)
      opened[#opened + 1] = {
        record.key_id, record.user, record.team, record.model, record.bookings, record.noted, record.touched,
        in_order(record.reserved), in_order(record.wanted), record.part_ms,
      }
    end
  end
  wanted = redis.call('HGETALL', WANTED)
end
local day = args.day ~= '' and redis.call('HGETALL', PREFIX .. 'days:' .. args.day) or {}
return {redis.call('GET', CLOCK) or '0', last_trimmed, receipts, counters, rates, opened, wanted, day}
