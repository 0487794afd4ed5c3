-- What was booked where a limit alone had it counted: so that these counters, too, can be recomputed from receipts.

-- Lines of when the part of the lease was reserved and when this was booked, in seconds; money, requests, input and
-- output tokens; and where: `kre tmy` is the key's requests by the minute and the team's money by the day, by the first
-- letters of scope and kind and the last of the window.
local function note(record, spent, booked_ms)
  if record.touched == '' or is_nothing(spent) then
    return
  end
  local where = string.gsub(record.touched, '(%l)%l*:%S* (%l)[%l_]* %l*(%l)\n?', '%1%2%3 ')
  record.noted = record.noted .. string.format('%d %d %d %d %d %d %s\n',
    math.floor(record.part_ms / 1000), math.floor(booked_ms / 1000),
    spent.money, spent.requests, spent.input_tokens, spent.output_tokens, where)
end
