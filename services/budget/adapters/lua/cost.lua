-- What tokens cost, the same as libs/money.py.

local TOKENS_PER_PRICE = 1000000

-- Rounded up once, over all tokens. Prices are split into whole micro-dollars a token and the rest, so that no product
-- passes 2^53.
local function cost(record, input, cached, output)
  local fresh = input - cached
  local of_fresh, of_cached, of_output = record.price_input, record.price_cached, record.price_output
  local rest_fresh, rest_cached = of_fresh % TOKENS_PER_PRICE, of_cached % TOKENS_PER_PRICE
  local rest_output = of_output % TOKENS_PER_PRICE
  local whole = fresh * ((of_fresh - rest_fresh) / TOKENS_PER_PRICE)
    + cached * ((of_cached - rest_cached) / TOKENS_PER_PRICE)
    + output * ((of_output - rest_output) / TOKENS_PER_PRICE)
  local rest = fresh * rest_fresh + cached * rest_cached + output * rest_output
  local remainder = rest % TOKENS_PER_PRICE
  return whole + (rest - remainder) / TOKENS_PER_PRICE + (remainder > 0 and 1 or 0)
end

-- What the request costs once it has delivered so many output tokens. While the input is not counted, its upper bound
-- stands for it, at the higher of its two prices.
local function cost_at(record, output)
  if record.input > 0 then
    return cost(record, record.input, record.cached, output)
  end
  local cached = record.price_cached > record.price_input and record.max_input or 0
  return cost(record, record.max_input, cached, output)
end
