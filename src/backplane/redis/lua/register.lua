-- Notes fields of a user who need not be there.
-- KEYS: 1 state, 2 users
-- ARGV: field, value pairs
-- Returns {'ok'}
redis.call('HSET', KEYS[1], unpack(ARGV))
if redis.call('HLEN', KEYS[2]) == 0 then redis.call('PEXPIRE', KEYS[1], INBOX_TTL) end
return {'ok'}
