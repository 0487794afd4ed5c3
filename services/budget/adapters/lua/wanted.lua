-- What open answers may still want beyond their leases, by account, whichever windows they will take it in: a hash with
-- a field an account, of money and output tokens. An answer is let in only where all of it fits beside that, so what
-- is let in later takes nothing from it.

-- What a step adds, to each of these accounts; written with its counters, or dropped with them. What stands is by kind,
-- then by the place of the account; nil until somebody asks.
local wanted = {money = 0, output_tokens = 0}

local function want(accounts, more)
  wanted.accounts = accounts
  wanted.money = wanted.money + more.money
  wanted.output_tokens = wanted.output_tokens + more.output_tokens
end

local function stand_wanted()
  if wanted.stands then
    return
  end
  local money, output = {}, {}
  for i, text in ipairs(redis.call('HMGET', WANTED, unpack(wanted.accounts))) do
    local of_money, of_output = string.match(text or '0 0', '(%S+) (%S+)')
    money[i], output[i] = of_money + 0, of_output + 0
  end
  wanted.stands = {money = money, output_tokens = output}
end

local function write_wanted()
  if wanted.money == 0 and wanted.output_tokens == 0 then
    return
  end
  stand_wanted()
  local fields, gone = {}, {}
  for i, account in ipairs(wanted.accounts) do
    local money = wanted.stands.money[i] + wanted.money
    local output = wanted.stands.output_tokens[i] + wanted.output_tokens
    if money == 0 and output == 0 then
      gone[#gone + 1] = account
    else
      fields[#fields + 1] = account
      fields[#fields + 1] = string.format('%d %d', money, output)
    end
  end
  if #fields > 0 then
    redis.call('HSET', WANTED, unpack(fields))
  end
  if #gone > 0 then
    redis.call('HDEL', WANTED, unpack(gone))
  end
  wanted = {money = 0, output_tokens = 0}
end
