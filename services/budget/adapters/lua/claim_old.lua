-- What is to be archived next. For so long it is `owner`'s turn, or another's: so that no two archive the same.

local ARCHIVING = PREFIX .. 'archiving'

local old = old_receipts(advance_clock())
local whose = redis.call('GET', ARCHIVING)
if #old == 0 or (whose and whose ~= args.owner) then
  return {}
end
redis.call('SET', ARCHIVING, args.owner, 'PX', args.turn_ms)
return old
