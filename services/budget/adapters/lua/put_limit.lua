-- Sets a limit, with `absent_only` where there is none of its name. usage.lua follows in the same script, and says
-- where the account's limits stand.

local kept, found = without(args.accounts[1], args.name)
if args.absent_only then
  if found then
    return reply({'added', 0})
  end
  kept[#kept + 1] = args.name .. ':' .. args.most
  keep(args.accounts[1], kept)
  return reply({'added', 1})
end
kept[#kept + 1] = args.name .. ':' .. args.most
keep(args.accounts[1], kept)
