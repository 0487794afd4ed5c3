-- What open answers may still want beyond their leases, by account, whichever windows they will take it in: a hash with
-- a field an account, of money and output tokens. An answer is let in only where all of it fits beside that, so what
-- is let in later takes nothing from it.

local WANTED_TEXT = '^(%S+) (%S+)$'

-- Of each account of this call, what stands and what this call adds. Written with its counters, or dropped with them.
local wanted = {}

local function wanted_of(accounts)
  local unread = {}
  for _, account in ipairs(accounts) do
    if not wanted[account] then
      unread[#unread + 1] = account
    end
  end
  if #unread > 0 then
    for i, text in ipairs(redis.call('HMGET', WANTED, unpack(unread))) do
      local money, output = string.match(text or '0 0', WANTED_TEXT)
      wanted[unread[i]] = {stands = amount(tonumber(money), 0, tonumber(output), 0, 0), adds = NOTHING}
    end
  end
  return wanted
end

local function want(accounts, more)
  if is_nothing(more) then
    return
  end
  local of = wanted_of(accounts)
  for _, account in ipairs(accounts) do
    of[account].adds = sum(of[account].adds, more)
  end
end

local function write_wanted()
  for account, of in pairs(wanted) do
    if not is_nothing(of.adds) then
      of.stands, of.adds = sum(of.stands, of.adds), NOTHING
      local money, output = of.stands.money, of.stands.output_tokens
      if money == 0 and output == 0 then
        redis.call('HDEL', WANTED, account)
      else
        redis.call('HSET', WANTED, account, string.format('%.0f %.0f', money, output))
      end
    end
  end
end
