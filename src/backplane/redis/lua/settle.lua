-- A thing is waited for no more, unless it has become due only lately.
-- KEYS: 1 queue
-- ARGV: 1 thing, 2 for how many ms it must have been due
-- Returns {'ok'}
local at = redis.call('ZSCORE', KEYS[1], ARGV[1])
if at and (ARGV[2] == '0' or tonumber(at) <= now() - ARGV[2]) then redis.call('ZREM', KEYS[1], ARGV[1]) end
return {'ok'}
