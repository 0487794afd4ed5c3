-- What tokens cost, the same as libs/money.py.

local TOKENS_PER_PRICE = 1000000

-- Rounded up once, over all tokens. Prices are split into whole micro-dollars a token and the rest, so that no product
-- passes 2^53.
local function cost(record, input, cached, output)
  local whole, rest = 0, 0
  local function add(tokens, price)
    whole = whole + tokens * math.floor(price / TOKENS_PER_PRICE)
    rest = rest + tokens * (price % TOKENS_PER_PRICE)
  end
  add(input - cached, record.price_input)
  add(cached, record.price_cached)
  add(output, record.price_output)
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
