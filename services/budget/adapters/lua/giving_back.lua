-- The end of a reservation that came to nothing: what is not booked is returned, and what was presumed.

local function give_back(record, now)
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
end
