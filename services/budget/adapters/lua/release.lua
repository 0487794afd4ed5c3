-- Returns everything that is not booked.

local record = read(args.id, now)
if not record then
  return reply({'missing'})
end
give_back(record, now)
return reply({'released', record.released})
