-- Books what was used where it was reserved, and reserves the rest and more in the windows of now.

local record = read(args.id, now)
if not record then
  return reply({'missing'})
end
if record.state ~= 'open' then
  return reply({'closed', record.state})
end
if args.seq <= record.seq then
  return lease_reply(record, now, {})
end

record.seq = args.seq
record.input, record.cached, record.output, record.source = args.input, args.cached, args.output, args.source
-- Never shorter than it was: the router delivers on the old lease while this call is on its way.
local wanted = math.min(record.output + args.want_output, record.max_output)
record.leased = math.max(record.leased, wanted)

-- Each part is what the whole so far comes to less what is booked: so roundings don't add up. What was used beyond the
-- live part, when the input's bound was too low, is reserved with the new one.
local used = used_by(record, cost(record, record.input, record.cached, record.output))
local draft = {}
end_part(draft, record, smaller(record.reserved, beyond(used, record.booked)), now)
lease_part(record, math.max(record.leased, record.output))
record.part_ms, record.expires_ms = now, now + args.lifetime_ms
local limits = limits_of(record.accounts)
record.touched = limited_part(limits, record.touched)
local pages = pages_of(draft, record.accounts, record.touched, now)
add(pages, NOTHING, record.reserved, now)

weigh(limits, pages, now)
local refused = refusal(limits, NOTHING, record.reserved, false, now)
if refused then
  return reply(refused)
end
write(draft, now)
save_open(record)
redis.call('ZADD', LEASES, record.expires_ms, record.id)
return lease_reply(record, now, {})
