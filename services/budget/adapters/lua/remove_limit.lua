-- Removes a limit, and says whether there was one. Its counter stays.

local kept, found = without(args.account, args.name)
if found then
  keep(args.account, kept)
end
return reply({'removed', found and 1 or 0})
