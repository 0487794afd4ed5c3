-- Reserves for all accounts, kinds and windows, or for none.

local existing = read(args.id, now)
if existing and existing.state ~= 'open' then
  return reply({'closed', existing.state})
end
local limits = limits_of((existing or args).accounts)
if existing then
  weigh(limits, pages_of({}, existing.accounts, existing.touched, now), now)
  return lease_reply(existing, now, passed(limits))
end

local record = open(args, now, now + args.lifetime_ms)
local draft = {}
local replaced = record.replaces ~= '' and read(record.replaces, now) or nil
if replaced and not same_accounts(replaced, record) then
  -- Another's, and no attempt at this request.
  replaced = nil
end
-- A fallback is the same request: it was counted when the first reservation was made.
record.booked = amount(0, 0, 0, replaced and 0 or 1, 0)
if replaced and replaced.state == 'open' then
  replaced.released = replaced.reserved.money
  end_part(draft, replaced, NOTHING, now)
  record.touched = limited_part(limits, replaced.touched)
else
  replaced = nil
  record.touched = limited(limits, EVERY_KIND)
end
record.leased = math.min(record.want_output, record.max_output)
lease_part(record, record.leased)
local pages = pages_of(draft, record.accounts, record.touched, now)
add(pages, record.booked, record.reserved, now)

weigh(limits, pages, now)
local refused = refusal(limits, record.booked, sum(record.reserved, record.wanted), true, now)
if refused then
  return reply(refused)
end
write(draft, now)
note(record, record.booked, now)
if replaced then
  close(replaced, now, 'released', 'RELEASED')
end
save_open(record)
redis.call('ZADD', LEASES, record.expires_ms, record.id)
return lease_reply(record, now, passed(limits))
