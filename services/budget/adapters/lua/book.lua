-- Books a request that was answered while this ledger was away. Nobody asks whether there is room for it: it is spent.
-- `late` says so, on the receipt.

-- Told already; or its router has told another replica.
local function is_told(record)
  return record.late or record.state == 'settled' or (record.state == 'released' and not args.settled)
end

local existing = read(args.id, now)
if existing and is_told(existing) then
  return receipt_reply(existing)
end

-- In the windows of its own time; those that are older than a day may have lost their counters.
local record = open(args, math.max(now - DAY_MS, math.min(now, args.at_ms)), now)
local limits = limits_of(record.accounts)
-- The call that found the ledger away may have been heard all the same, and has counted the request then.
record.booked = amount(0, 0, 0, existing and 0 or 1, 0)
if existing then
  give_back(existing, now)
end
if existing and same_accounts(existing, record) then
  record.touched = limited_part(limits, existing.touched)
else
  record.touched = limited(limits, EVERY_KIND)
end
record.leased = record.max_output
lease_part(record, record.leased)

local draft = {}
add(pages_of(draft, record.accounts, record.touched, record.part_ms), record.booked, record.reserved, now)
write(draft, now)
note(record, record.booked, now)
save_open(record)
if args.settled then
  settle_open(record, args.settled, args.late, now)
else
  record.why = args.late
  presume(record, now)
end
return receipt_reply(record)
