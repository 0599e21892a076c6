-- Claims a dead node, keeps claiming it, or with 0 ms gives it up.
-- KEYS: 1 claim
-- ARGV: 1 who claims, 2 ms
-- Returns {'yes'} | {'no'}
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return {'no'} end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return {'yes'}
