-- What is due.
-- KEYS: 1 queue
-- ARGV: 1 how many
-- Returns {thing, …}, the longest overdue first
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', text(now()), 'LIMIT', 0, ARGV[1])
