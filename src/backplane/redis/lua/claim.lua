-- Claims a dead node, or keeps claiming it.
-- KEYS: 1 claim
-- ARGV: 1 who claims, 2 ms
-- Returns {'yes'} | {'no'}
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return {'no'} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'yes'}
