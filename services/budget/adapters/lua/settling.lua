-- The end of an open reservation: the final usage is booked, never more than was reserved, and the rest returned.

local function settle_open(record, final, why, now)
  local final_cost = cost(record, final.input, final.cached, final.output)
  local draft = {}
  end_part(draft, record, smaller(record.reserved, beyond(used_by(final, final_cost), record.booked)), now)
  write(draft, now)
  record.input, record.cached, record.output, record.source = final.input, final.cached, final.output, final.source
  record.why, record.uncovered = why, math.max(0, final_cost - record.booked.money)
  close(record, now, 'settled', final.outcome)
end
