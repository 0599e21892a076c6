-- Ends a room for good: publishes, drops everything, leaves a marker that expires.
-- KEYS: 1 state, 2 log, 3 channel, 4 chat, 5 members, 6 users
-- ARGV: 1 envelope rest, 2 time ms, 3 marker ttl ms
-- Returns {'ok'} | {'missing'} | {'ended'}
local room = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'ended', 'session_id')
if not room[1] then return {'missing'} end
if room[3] then return {'ended'} end
local seq = tonumber(room[2]) + 1
redis.call('DEL', KEYS[1], KEYS[2], KEYS[4], KEYS[5], KEYS[6])
redis.call('HSET', KEYS[1], 'session_id', room[4] or '', 'epoch', room[1], 'seq', seq, 'ended', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('SPUBLISH', KEYS[3], envelope(seq, room[1], nil, ARGV[1]))
return {'ok'}
