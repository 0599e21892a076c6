-- An id comes on a list, or off it.
-- KEYS: 1 list
-- ARGV: 1 id, 2 '1' when it comes
-- Returns {'ok'}
if ARGV[2] == '1' then redis.call('ZADD', KEYS[1], 0, ARGV[1]) else redis.call('ZREM', KEYS[1], ARGV[1]) end
return {'ok'}
