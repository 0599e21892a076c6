-- What a user follows, which is remembered for a while more.
-- KEYS: 1 what the user follows
-- ARGV: 1 ms
-- Returns {agent, …}
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('SMEMBERS', KEYS[1])
