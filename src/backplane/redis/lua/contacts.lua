-- With whom a user exchanged letters.
-- KEYS: 1 contacts
-- Returns {user, …}
return redis.call('ZRANGE', KEYS[1], 0, -1)
