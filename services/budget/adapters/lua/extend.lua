-- Books what was used where it was reserved, and reserves the rest and more in the windows of now.

local record = read(args.id, now)
if not record then
  return reply({'missing'})
end
if record.state ~= 'open' then
  return reply({'closed', record.state})
end
if args.seq <= record.seq then
  return lease_reply(record, now)
end

record.seq = args.seq
record.input, record.cached, record.output, record.source = args.input, args.cached, args.output, args.source
-- Never shorter than it was: the router delivers on the old lease while this call is on its way.
local wanted = math.min(record.output + args.want_output, record.max_output)
record.leased = math.max(record.leased, wanted)

-- Each part is the cost of the whole so far less what is booked: so roundings don't add up. What was used beyond the
-- live part, when the input's bound was too low, is reserved with the new one.
local used_cost = cost(record, record.input, record.cached, record.output)
local spent = math.min(record.reserved, math.max(0, used_cost - record.booked))
local draft = {}
end_part(draft, record, spent)
local lease_cost = cost_at(record, math.max(record.leased, record.output))
record.reserved = math.max(0, lease_cost - record.booked)
record.part_ms, record.expires_ms = now, now + args.lifetime_ms
local current = add_to(draft, record, now, 0, record.reserved)

weigh(current)
local refused = refusal(current, record.reserved, now)
if refused then
  return reply(refused)
end
write(draft, now)
save(record)
redis.call('ZADD', LEASES, record.expires_ms, record.id)
return lease_reply(record, now)
