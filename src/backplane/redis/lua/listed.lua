-- A page of a list, in the order of ids.
-- KEYS: 1 list
-- ARGV: 1 behind which id ('' for from the first), 2 how many
-- Returns {id, …}
return redis.call('ZRANGEBYLEX', KEYS[1], ARGV[1] == '' and '-' or '(' .. ARGV[1], '+', 'LIMIT', 0, ARGV[2])
