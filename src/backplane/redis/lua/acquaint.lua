-- A user sent letters to these.
-- KEYS: 1 contacts
-- ARGV: 1 most contacts remembered, 2… users
-- Returns {'ok'}
local time = now()
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], time, ARGV[i]) end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[1]))
redis.call('PEXPIRE', KEYS[1], INBOX_TTL)
return {'ok'}
