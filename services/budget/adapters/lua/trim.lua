-- Takes the oldest receipts out of the ledger, and adds them to the sums of those that went before: in one step, so that
-- at every instant `trimmed`, the ledger and what open reservations have booked add up to the counters and to `days`.
-- Where there is an archive, none but those that it has. Says how many, and how many there are still.

local TRIMMED = PREFIX .. 'trimmed'

local function accounts_of(receipt)
  local accounts = {'organisation:', 'key:' .. receipt.key_id}
  for _, scope in ipairs({'user', 'team'}) do
    if receipt[scope] ~= '' then
      accounts[#accounts + 1] = scope .. ':' .. receipt[scope]
    end
  end
  return accounts
end

-- Of the pages of counters that there still are: one that is gone has nothing to add up to.
local function add_to_counters(receipt)
  for minute, money in string.gmatch(receipt.bookings, '(%d+)=(-?%d+)') do
    for _, window in ipairs(args.windows) do
      local page = 'spent:' .. window .. ':' .. window_at(window, minute * MINUTE_MS)
      local lives_ms = redis.call('PTTL', PREFIX .. page)
      if lives_ms ~= -2 then
        for _, account in ipairs(accounts_of(receipt)) do
          redis.call('HINCRBY', TRIMMED .. ':' .. page, account, money)
        end
        if lives_ms >= 0 then
          redis.call('PEXPIRE', TRIMMED .. ':' .. page, lives_ms)
        end
      end
    end
  end
end

local function add_to_checkpoint(receipt, now)
  local minute, measures = string.match(receipt.counted, '^(%d+) (.+)$')
  if not minute then
    -- It counts for nothing but the money that it has booked, if any: which stands on its own days.
    minute = string.match(receipt.bookings, '^%d+') or 0
  end
  add_to_days('trimmed', receipt, minute, measures and unpacked(measures), receipt.bookings, now)
  add_to_counters(receipt)
end

-- Of the entries of its request it is the oldest, and the first.
local function leave_index(receipt)
  local younger = string.match(redis.call('HGET', ENTRIES_OF, receipt.request_id) or '', ' (.+)$')
  if younger then
    redis.call('HSET', ENTRIES_OF, receipt.request_id, younger)
  else
    redis.call('HDEL', ENTRIES_OF, receipt.request_id)
  end
end

local archived = {}
for _, id in ipairs(args.archived or {}) do
  archived[id] = true
end

local now = advance_clock()
local ids = {}
for _, entry in ipairs(old_receipts(now)) do
  if args.archived and not archived[entry[1]] then
    break
  end
  local receipt = fields_of(entry[2])
  add_to_checkpoint(receipt, now)
  leave_index(receipt)
  ids[#ids + 1] = entry[1]
end
if #ids > 0 then
  redis.call('XDEL', RECEIPTS, unpack(ids))
  redis.call('HSET', TRIMMED, 'last', ids[#ids])
  redis.call('HINCRBY', TRIMMED, 'receipts', #ids)
end
return {#ids, redis.call('XLEN', RECEIPTS)}
