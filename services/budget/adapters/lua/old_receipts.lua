-- What is older than the ledger keeps it, the oldest first, at most `most`: entries as XRANGE gives them.

local function fields_of(entry)
  local fields = {}
  for i = 1, #entry, 2 do
    fields[entry[i]] = entry[i + 1]
  end
  return fields
end

local function old_receipts(now)
  local old = {}
  for i, entry in ipairs(redis.call('XRANGE', RECEIPTS, '-', '+', 'COUNT', args.most)) do
    if tonumber(fields_of(entry[2]).booked_at_ms) + args.kept_ms > now then
      break
    end
    old[i] = entry
  end
  return old
end
