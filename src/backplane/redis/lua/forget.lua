-- A node is no more.
-- KEYS: 1 nodes
-- ARGV: 1 node
-- Returns {'ok'}
redis.call('ZREM', KEYS[1], ARGV[1])
return {'ok'}
