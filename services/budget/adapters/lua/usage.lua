-- Where each limit of these accounts stands now.

local limits = limits_of(args.accounts)
local current = counters_of({}, args.accounts, limited(args.accounts, limits, EVERY_KIND), now)
weigh(current, limits, now)
local states = {}
for _, counter in ipairs(current) do
  for _, strength in ipairs({'hard', 'soft'}) do
    if counter[strength] then
      states[#states + 1] =
        state_of(counter, counter[strength], strength == 'soft', counter.stands_spent, counter.stands_reserved)
    end
  end
end
return reply({'usage', states})
