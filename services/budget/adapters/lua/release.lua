-- Returns everything that is not booked.

local record = read(args.id, now)
if not record then
  return reply({'missing'})
end

if record.state == 'open' then
  record.released = record.reserved.money
  local draft = {}
  end_part(draft, record, NOTHING, now)
  write(draft, now)
  close(record, now, 'released', 'RELEASED')
elseif record.state == 'expired' then
  record.state = 'released'
  record.released = correct(record, now, beyond(record.booked, record.presumed), record)
  save(record)
end
return reply({'released', record.released})
