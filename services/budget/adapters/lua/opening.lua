-- A reservation in its first moments: nothing is used, booked or reserved yet.

local function same_accounts(one, other)
  return table.concat(one.accounts, ' ') == table.concat(other.accounts, ' ')
end

local function open(asked, at_ms, expires_ms)
  local record = asked
  record.state, record.seq, record.bookings, record.noted = 'open', 0, '', ''
  record.input, record.cached, record.output, record.source = 0, 0, 0, 'UNSPECIFIED'
  record.outcome, record.why, record.closed_ms, record.booked_at_ms = '', '', 0, 0
  record.uncovered, record.released = 0, 0
  record.part_ms, record.expires_ms = at_ms, expires_ms
  return record
end
