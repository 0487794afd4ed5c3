-- What a request takes of each kind that is counted: an amount is a table by kind. Of requests it has the one that
-- Reserve books; concurrency is 1 as long as the request is open. Written out and not looped, for every call does this
-- several times.

local function amount(money, input, output, requests, concurrency)
  return {
    money = money, input_tokens = input, output_tokens = output, requests = requests, concurrency = concurrency,
  }
end

local NOTHING = amount(0, 0, 0, 0, 0)

-- Nothing that could be booked: concurrency never is.
local function is_nothing(of)
  return of.money == 0 and of.input_tokens == 0 and of.output_tokens == 0 and of.requests == 0
end

-- What has been used so far that is to be booked.
local function used_by(usage, money)
  return amount(money, usage.input, usage.output, 0, 0)
end

-- What has to be reserved or booked, in all, so that a lease covers so many output tokens.
local function covering(record, output)
  local input = record.input > 0 and record.input or record.max_input
  return amount(cost_at(record, output), input, output, 0, 1)
end

local function sum(left, right)
  return amount(
    left.money + right.money, left.input_tokens + right.input_tokens, left.output_tokens + right.output_tokens,
    left.requests + right.requests, left.concurrency + right.concurrency)
end

local function negative(of)
  return amount(-of.money, -of.input_tokens, -of.output_tokens, -of.requests, -of.concurrency)
end

-- The part of `left` beyond `right`, kind by kind, never less than nothing.
local function beyond(left, right)
  local max = math.max
  return amount(
    max(0, left.money - right.money), max(0, left.input_tokens - right.input_tokens),
    max(0, left.output_tokens - right.output_tokens), max(0, left.requests - right.requests),
    max(0, left.concurrency - right.concurrency))
end

local function smaller(left, right)
  local min = math.min
  return amount(
    min(left.money, right.money), min(left.input_tokens, right.input_tokens),
    min(left.output_tokens, right.output_tokens), min(left.requests, right.requests),
    min(left.concurrency, right.concurrency))
end
