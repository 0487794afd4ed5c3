-- Books the final usage, never more than was reserved, and returns the rest.

local record = read(args.id, now)
if not record then
  return reply({'missing'})
end

if record.state == 'open' then
  settle_open(record, args, args.why, now)
elseif record.state == 'expired' then
  local final_cost = cost(record, args.input, args.cached, args.output)
  record.state, record.why = 'settled', args.why
  record.uncovered = math.max(0, final_cost - record.booked.money)
  correct(record, now, used_by(args, final_cost), args)
  save(record)
end
return receipt_reply(record)
