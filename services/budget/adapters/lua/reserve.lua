-- Reserves in all accounts and windows, or in none.

local existing = read(args.id, now)
if existing then
  if existing.state ~= 'open' then
    return reply({'closed', existing.state})
  end
  return lease_reply(existing, now)
end

local record = args
record.state, record.seq, record.booked, record.bookings = 'open', 0, 0, ''
record.input, record.cached, record.output, record.source = 0, 0, 0, 'UNSPECIFIED'
record.outcome, record.why, record.closed_ms, record.booked_at_ms = '', '', 0, 0
record.uncovered, record.presumed, record.released = 0, 0, 0
record.part_ms, record.expires_ms = now, now + record.lifetime_ms

local draft = {}
local replaced = record.replaces ~= '' and read(record.replaces, now)
if replaced and replaced.state == 'open' then
  replaced.released = replaced.reserved
  end_part(draft, replaced, 0)
else
  replaced = nil
end

local current = add_to(draft, record, now, 0, 0)
weigh(current)
local worst = cost_at(record, record.max_output)
record.leased = math.min(record.want_output, record.max_output)
if room_in(current) < record.near_limit_factor * worst then
  record.leased = record.max_output
end
record.reserved = cost_at(record, record.leased)
add_to(draft, record, now, 0, record.reserved)

local refused = refusal(current, record.reserved, now)
if refused then
  return reply(refused)
end
write(draft, now)
if replaced then
  close(replaced, now, 'released', 'RELEASED')
end
redis.call('HSET', record_key(record.id), 'asked', ASKED)
save(record)
redis.call('ZADD', LEASES, record.expires_ms, record.id)
return lease_reply(record, now)
