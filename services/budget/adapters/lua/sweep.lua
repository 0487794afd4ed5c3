-- The sweep that begins every call is all there is to do. Says how many leases are open still, expired ones included.

return reply({'open', redis.call('ZCARD', LEASES), redis.call('ZCOUNT', LEASES, '-inf', now)})
