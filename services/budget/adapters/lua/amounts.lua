-- What a request uses of each kind that is counted: an amount is a table by kind. Requests are not in it but as the
-- one that Reserve books, concurrency is 1 as long as the request is open.

local KINDS = {'money', 'input_tokens', 'output_tokens', 'requests', 'concurrency'}

local function amount(money, input, output, requests, concurrency)
  return {
    money = money, input_tokens = input, output_tokens = output, requests = requests, concurrency = concurrency,
  }
end

local function nothing()
  return amount(0, 0, 0, 0, 0)
end

-- What has been used so far, at most, that is to be booked.
local function used_by(usage, money)
  return amount(money, usage.input, usage.output, 0, 0)
end

-- What has to be reserved or booked, in all, so that a lease covers so many output tokens.
local function covering(record, output)
  local input = record.input > 0 and record.input or record.max_input
  return amount(cost_at(record, output), input, output, 0, 1)
end

-- The part of `left` beyond `right`, kind by kind, never less than nothing.
local function beyond(left, right)
  local rest = {}
  for _, kind in ipairs(KINDS) do
    rest[kind] = math.max(0, left[kind] - right[kind])
  end
  return rest
end

local function smaller(left, right)
  local least = {}
  for _, kind in ipairs(KINDS) do
    least[kind] = math.min(left[kind], right[kind])
  end
  return least
end

local function sum(left, right)
  local both = {}
  for _, kind in ipairs(KINDS) do
    both[kind] = left[kind] + right[kind]
  end
  return both
end

local function negative(of)
  local less = {}
  for _, kind in ipairs(KINDS) do
    less[kind] = -of[kind]
  end
  return less
end

-- As text, in the order of KINDS. Lua's own form of a number has 14 digits.
local function to_text(of)
  return string.format('%.0f %.0f %.0f %.0f %.0f',
    of.money, of.input_tokens, of.output_tokens, of.requests, of.concurrency)
end

local function from_text(text)
  local found, place = {}, 0
  for number in string.gmatch(text, '%S+') do
    place = place + 1
    found[KINDS[place]] = tonumber(number)
  end
  return found
end
