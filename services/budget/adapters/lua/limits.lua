-- The limits of an organisation: a hash with one field an account, so that a Reserve reads few. A field holds entries
-- KIND:WINDOW:hard|soft:MOST, apart by spaces.

local function entries(packed)
  return string.gmatch(packed or '', '([^ :]+):([^ :]+):([^ :]+):([^ :]+)')
end

-- By account, a list of its limits, each also found by kind and window: {kind, window, hard = …, soft = …}.
local function limits_of(accounts)
  local packed = redis.call('HMGET', LIMITS, unpack(accounts))
  local limits = {}
  for i, account in ipairs(accounts) do
    local found = {}
    for kind, window, strength, most in entries(packed[i]) do
      found[kind] = found[kind] or {}
      local limit = found[kind][window]
      if not limit then
        limit = {kind = kind, window = window}
        found[kind][window] = limit
        found[#found + 1] = limit
      end
      limit[strength] = tonumber(most)
    end
    limits[account] = found
  end
  return limits
end

-- The entries of an account without that of this name, KIND:WINDOW:hard|soft; and whether it was there.
local function without(account, name)
  local kept, found = {}, false
  for kind, window, strength, most in entries(redis.call('HGET', LIMITS, account)) do
    local each = kind .. ':' .. window .. ':' .. strength
    if each == name then
      found = true
    else
      kept[#kept + 1] = each .. ':' .. most
    end
  end
  return kept, found
end

local function keep(account, kept)
  if #kept == 0 then
    redis.call('HDEL', LIMITS, account)
  else
    redis.call('HSET', LIMITS, account, table.concat(kept, ' '))
  end
end
