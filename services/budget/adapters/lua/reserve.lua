-- Reserves in all accounts and windows, or in none.

local existing = read(args.id, now)
if existing then
  if existing.state ~= 'open' then
    return reply({'closed', existing.state})
  end
  return lease_reply(existing, now)
end

local record = {
  id = args.id, request_id = args.request_id, key_id = args.key_id, user = args.user, team = args.team,
  accounts = args.accounts, windows = args.windows, model = args.model,
  price_input = tonumber(args.price_input), price_cached = tonumber(args.price_cached),
  price_output = tonumber(args.price_output), price_version = args.price_version,
  max_input = tonumber(args.max_input), max_output = tonumber(args.max_output),
  input = 0, cached = 0, output = 0, source = 'UNSPECIFIED', seq = 0, booked = 0, bookings = '',
  state = 'open', outcome = '', why = '', uncovered = 0, presumed = 0, released = 0,
}

local draft = {}
local replaced = args.replaces ~= '' and read(args.replaces, now)
if replaced and replaced.state == 'open' then
  replaced.released = replaced.reserved
  end_part(draft, replaced, 0)
else
  replaced = nil
end

local current = add_to(draft, record, now, 0, 0)
weigh(current)
local worst = cost_at(record, record.max_output)
record.leased = math.min(tonumber(args.want_output), record.max_output)
if room_in(current) < tonumber(args.near_limit_factor) * worst then
  record.leased = record.max_output
end
record.reserved = cost_at(record, record.leased)
record.part_ms, record.expires_ms = now, now + tonumber(args.lifetime_ms)
add_to(draft, record, now, 0, record.reserved)

local refused = refusal(current, record.reserved, now)
if refused then
  return reply(refused)
end
write(draft, now)
if replaced then
  close(replaced, now, 'released', 'RELEASED')
end
save(record)
redis.call('ZADD', LEASES, record.expires_ms, record.id)
return lease_reply(record, now)
