-- The sockets of a room; of one in which a user has several, when a user is named.
-- KEYS: 1 members, 2 users
-- ARGV: 1 user ('' for any), 2 most members listed
-- Returns {{socket, member record, …}}, an empty list of them when the user has one socket or none
if ARGV[1] ~= '' and tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0) < 2 then return {{}} end
if redis.call('HLEN', KEYS[1]) <= tonumber(ARGV[2]) then return {redis.call('HGETALL', KEYS[1])} end
return {redis.call('HSCAN', KEYS[1], '0', 'COUNT', ARGV[2])[2]}
