-- Reservations, what becomes of them, and what the verbs answer.

-- A closed reservation answers repeated and late calls for so long. Redis drops it an hour later.
local REMEMBERED_MS = DAY_MS
local RECORD_KEPT_MS = REMEMBERED_MS + HOUR_MS
-- So that a call of an organisation that was away with thousands of leases is not the one that pays for all.
local SWEPT_AT_ONCE = 50

-- What this call has found expired.
local swept = {leases = 0, presumed = 0}

-- A reservation is one value, packed: what Reserve was called with, and what changes. The live part of a lease is
-- `reserved`, held in the windows of `part_ms` and in the counters that `touched` names beside those of every account;
-- `booked` is what earlier parts have come to, and `wanted` what the longest answer would come to beyond both; all
-- three are amounts. `input`, `cached` and `output` are what was used so far.
local function record_key(id)
  return PREFIX .. 'reserved:' .. id
end

local function save_open(record)
  redis.call('SET', record_key(record.id), cmsgpack.pack(record))
end

-- Of a closed one, which is kept no longer for it.
local function save(record)
  redis.call('SET', record_key(record.id), cmsgpack.pack(record), 'KEEPTTL')
end

local function load(id)
  local packed = redis.call('GET', record_key(id))
  return packed and cmsgpack.unpack(packed) or nil
end

-- What a lease of so many output tokens holds, and what may still be wanted beyond it. The first is to be added to the
-- counters.
local function lease_part(record, output)
  record.reserved = beyond(covering(record, output), record.booked)
  record.wanted = beyond(covering(record, record.max_output), sum(record.booked, record.reserved))
  want(record.accounts, record.wanted)
end

-- Books `spent` of the live part, in the draft, and returns the rest of it.
local function end_part(draft, record, spent, now)
  add(pages_of(draft, record.accounts, record.touched, record.part_ms), spent, negative(record.reserved), now)
  record.booked = sum(record.booked, spent)
  note(record, spent, now)
  want(record.accounts, negative(record.wanted))
  record.reserved, record.wanted = NOTHING, NOTHING
  local money = spent.money
  if money == 0 then
    return
  end
  -- `bookings` says what was booked in which minute, so that every counter can be recomputed from the receipts.
  local minute = math.floor(record.part_ms / MINUTE_MS)
  local before, last, before_it = string.match(record.bookings, '^(.-)(%d+)=(%d+)$')
  if last and tonumber(last) == minute then
    money = money + before_it
  else
    before = record.bookings == '' and '' or record.bookings .. ' '
  end
  record.bookings = before .. string.format('%d=%d', minute, money)
end

-- Tokens and who counted them, for the receipt. What is presumed is all that the lease covered.
local function usage_of(record)
  if record.outcome ~= 'PRESUMED' then
    return record.input, record.cached, record.output, record.source
  end
  local input = record.input > 0 and record.input or record.max_input
  return input, record.cached, math.max(record.output, record.leased), 'PRESUMED'
end

-- So that the receipts of a request are found in a ledger of any length: the ids of their entries, the oldest first.
local function index_receipt(request_id, entry)
  if redis.call('HSETNX', ENTRIES_OF, request_id, entry) == 0 then
    redis.call('HSET', ENTRIES_OF, request_id, redis.call('HGET', ENTRIES_OF, request_id) .. ' ' .. entry)
  end
end

-- `before` is what an earlier receipt of the reservation has counted.
local function write_receipt(record, bookings, before)
  local input, cached, output, source = usage_of(record)
  local minute = math.floor(record.part_ms / MINUTE_MS)
  local measures = counted_by(counts(record, input, cached, output, source), before)
  local counted = measures and string.format('%d ', minute) .. packed(measures) or ''
  add_to_days('days', record, minute, measures, bookings, record.booked_at_ms)
  local entry = redis.call('XADD', RECEIPTS, '*',
    'reservation_id', record.id, 'request_id', record.request_id,
    'key_id', record.key_id, 'user', record.user, 'team', record.team, 'model', record.model,
    'price_input', record.price_input, 'price_cached', record.price_cached, 'price_output', record.price_output,
    'price_version', record.price_version,
    'input', input, 'cached', cached, 'output', output, 'source', source,
    'cost', record.booked.money, 'uncovered', record.uncovered, 'outcome', record.outcome, 'why', record.why,
    'bookings', bookings, 'noted', record.noted, 'counted', counted, 'booked_at_ms', record.booked_at_ms)
  index_receipt(record.request_id, entry)
end

local function close(record, now, state, outcome)
  record.state, record.outcome, record.closed_ms, record.booked_at_ms = state, outcome, now, now
  -- Of a closed one nobody asks.
  record.reserved, record.wanted = nil, nil
  redis.call('SET', record_key(record.id), cmsgpack.pack(record), 'PX', RECORD_KEPT_MS)
  redis.call('ZREM', LEASES, record.id)
  write_receipt(record, record.bookings)
end

-- A lease ran out: its router may have delivered all that it covered, so all of it is booked.
local function presume(record, now)
  swept.leases, swept.presumed = swept.leases + 1, swept.presumed + record.reserved.money
  local reserved = record.reserved
  record.presumed = amount(reserved.money, reserved.input_tokens, reserved.output_tokens, 0, 0)
  local draft = {}
  end_part(draft, record, record.presumed, now)
  write(draft, now)
  close(record, now, 'expired', 'PRESUMED')
end

-- A live router's late word lowers what was presumed, where it was booked, to what it says the request used. Never what
-- an Extend has booked, and never upwards. Returns by how much money.
local function correct(record, now, said, used)
  local before = counts(record, usage_of(record))
  local lower = smaller(record.presumed, beyond(record.booked, said))
  local draft = {}
  add(pages_of(draft, record.accounts, record.touched, record.part_ms), negative(lower), NOTHING, record.closed_ms)
  write(draft, now)
  record.booked = beyond(record.booked, lower)
  if is_nothing(lower) then
    return 0
  end
  record.noted = ''
  note(record, negative(lower), record.closed_ms)
  record.outcome, record.booked_at_ms = 'CORRECTED', now
  record.input, record.cached, record.output, record.source = used.input, used.cached, used.output, used.source
  local minute = math.floor(record.part_ms / MINUTE_MS)
  local bookings = lower.money == 0 and '' or string.format('%d=-%d', minute, lower.money)
  write_receipt(record, bookings, before)
  return lower.money
end

-- The reservation as it stands now; nil when there is none, or it was closed too long ago.
local function read(id, now)
  local record = load(id)
  if not record then
    return nil
  end
  if record.state == 'open' then
    if record.expires_ms <= now then
      presume(record, now)
    end
  elseif record.closed_ms + REMEMBERED_MS <= now then
    redis.call('DEL', record_key(id))
    return nil
  end
  return record
end

-- Every call closes expired leases of its organisation, so that none needs the sweeper to be right.
local function sweep(now)
  local expired = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, SWEPT_AT_ONCE)
  for _, id in ipairs(expired) do
    if not read(id, now) then
      -- Somebody deleted it. It must not be found for ever.
      redis.call('ZREM', LEASES, id)
    end
  end
end

-- Each begins with what was swept on the way.
local function reply(answer)
  return {swept.leases, swept.presumed, unpack(answer)}
end

local function lease_reply(record, now, warnings)
  local whole = record.leased >= record.max_output and 1 or 0
  return reply({'lease', record.leased, record.expires_ms - now, record.reserved.money, whole, warnings})
end

local function receipt_reply(record)
  local input, cached, output, source = usage_of(record)
  return reply({
    'receipt', record.request_id, record.key_id, record.model,
    record.price_input, record.price_cached, record.price_output, record.price_version,
    input, cached, output, source,
    record.booked.money, record.outcome, record.why, record.uncovered, record.booked_at_ms,
  })
end

-- Every call begins so.
local now = advance_clock()
sweep(now)
