-- Books the final usage, never more than was reserved, and returns the rest.

local record = read(args.id, now)
if not record then
  return reply({'missing'})
end
local final_cost = cost(record, args.input, args.cached, args.output)

if record.state == 'open' then
  local spent = math.min(record.reserved, math.max(0, final_cost - record.booked))
  local draft = {}
  end_part(draft, record, spent)
  write(draft, now)
  record.input, record.cached, record.output, record.source = args.input, args.cached, args.output, args.source
  record.why, record.uncovered = args.why, math.max(0, final_cost - record.booked)
  close(record, now, 'settled', args.outcome)
elseif record.state == 'expired' then
  record.state, record.why = 'settled', args.why
  record.uncovered = math.max(0, final_cost - record.booked)
  correct(record, now, final_cost, args)
  save(record)
end
return receipt_reply(record)
