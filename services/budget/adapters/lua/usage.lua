-- Where each limit of these accounts stands now.

local limits = limits_of(args.accounts)
weigh(limits, pages_of({}, args.accounts, limited(limits, EVERY_KIND), now), now)
local states = {}
for i, limit in ipairs(limits) do
  states[i] = state_of(limit, before(limit))
end
return reply({'usage', states})
