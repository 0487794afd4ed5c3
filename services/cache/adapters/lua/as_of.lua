-- The number of the last drop. KEYS: the organisation's drops.

return last_drop(KEYS[1])
