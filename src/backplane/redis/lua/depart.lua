-- A node that leaves in order is dead when this time has passed.
-- KEYS: 1 nodes
-- ARGV: 1 node, 2 ms
-- Returns {'ok'}
local now = now()
redis.call('ZADD', KEYS[1], 'XX', now + tonumber(ARGV[2]), ARGV[1])
return {'ok'}
