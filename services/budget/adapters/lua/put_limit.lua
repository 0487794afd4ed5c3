-- Sets a limit. usage.lua follows in the same script, and says where it stands.

redis.call('HSET', LIMITS, args.limit_field, args.limit)
