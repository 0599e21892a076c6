-- A try at one of a room's hooks failed.
-- KEYS: 1 tries
-- ARGV: 1 place, 2 ms that this is remembered
-- Returns {tries}
local tries = redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {tries}
