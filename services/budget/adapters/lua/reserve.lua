-- Reserves for all accounts, kinds and windows, or for none.

local limits = limits_of(args.accounts)
local existing = read(args.id, now)
if existing then
  if existing.state ~= 'open' then
    return reply({'closed', existing.state})
  end
  local current = counters_of({}, existing.accounts, existing.touched, now)
  weigh(current, limits, now)
  return lease_reply(existing, now, passed(current))
end

local record = open(args, now, now + args.lifetime_ms)
local draft = {}
local replaced = record.replaces ~= '' and read(record.replaces, now) or nil
-- A fallback is the same request: it was counted when the first reservation was made.
record.booked = amount(0, 0, 0, replaced and 0 or 1, 0)
if replaced and replaced.state == 'open' then
  replaced.released = replaced.reserved.money
  end_part(draft, replaced, NOTHING, now)
  record.touched = limited_part(record, limits, replaced.touched)
else
  replaced = nil
  record.touched = limited(record.accounts, limits, EVERY_KIND)
end

local current = counters_of(draft, record.accounts, record.touched, now)
weigh(current, limits, now)
weigh_wanted(current, wanted_of(record.accounts))
local worst = {money = cost_at(record, record.max_output), output_tokens = record.max_output}
record.leased = math.min(record.want_output, record.max_output)
if is_near(current, record.near_limit_factor, worst) then
  record.leased = record.max_output
end
lease_part(record, record.leased)
add(current, record.booked, record.reserved, now)

local refused = refusal(current, record.booked, sum(record.reserved, record.wanted), now)
if refused then
  return reply(refused)
end
write(draft, now)
note(record, record.booked, now)
if replaced then
  close(replaced, now, 'released', 'RELEASED')
end
save(record, ASKED)
redis.call('ZADD', LEASES, record.expires_ms, record.id)
return lease_reply(record, now, passed(current))
