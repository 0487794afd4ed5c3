-- How limits are kept: a hash with one field an account, so that a Reserve reads few fields, of entries
-- KIND:WINDOW:hard|soft:MOST, apart by blanks.

-- The entries of an account without that of this name, KIND:WINDOW:hard|soft; and whether it was there.
local function without(account, name)
  local kept, found = {}, false
  for entry in string.gmatch(redis.call('HGET', LIMITS, account) or '', '%S+') do
    if string.sub(entry, 1, #name + 1) == name .. ':' then
      found = true
    else
      kept[#kept + 1] = entry
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
