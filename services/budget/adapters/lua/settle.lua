-- Books the final usage, never more than was reserved, and returns the rest.

local record = read(args.id, now)
if not record then
  return reply({'missing'})
end
local final_cost = cost(record, args.input, args.cached, args.output)
local used = used_by(args, final_cost)

if record.state == 'open' then
  local draft = {}
  end_part(draft, record, smaller(record.reserved, beyond(used, record.booked)), now)
  write(draft, now)
  record.input, record.cached, record.output, record.source = args.input, args.cached, args.output, args.source
  record.why, record.uncovered = args.why, math.max(0, final_cost - record.booked.money)
  close(record, now, 'settled', args.outcome)
elseif record.state == 'expired' then
  record.state, record.why = 'settled', args.why
  record.uncovered = math.max(0, final_cost - record.booked.money)
  correct(record, now, used, args)
  save(record)
end
return receipt_reply(record)
