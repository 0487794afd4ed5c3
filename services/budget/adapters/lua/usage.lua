-- Where each limit of these accounts stands in the windows of now.

local current = add_to({}, args, now, 0, 0)
weigh(current)
local states = {'usage'}
for _, counter in ipairs(current) do
  if counter.limit then
    for _, value in ipairs({
      counter.account, counter.window, counter.limit, counter.stands_spent, counter.stands_reserved, counter.end_ms or -1,
    }) do
      states[#states + 1] = value
    end
  end
end
return reply(states)
