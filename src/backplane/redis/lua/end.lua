-- Ends a room for good: publishes, drops everything, leaves a marker that expires.
-- KEYS: 1 state, 2 log, 3 channel, 4 chat, 5 members, 6 users; 7 snapshot, 8 log of a session's document
-- ARGV: 1 envelope front, 2 time ms, 3 most events of the log that are told
-- Returns {'ok', envelope, …}, the end of the log and this event | {'missing'} | {'ended'}
local room = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'ended', 'session_id')
if room[3] then return {'ended'} end
if not room[1] then return {'missing'} end
local answer, since = {'ok'}, math.max(room[2] + 1 - ARGV[3], 0)
for at, entry in ipairs(redis.call('XRANGE', KEYS[2], '(' .. text(since) .. '-0', '+')) do answer[at + 1] = entry[2][2] end
redis.call('DEL', KEYS[1], KEYS[2], unpack(KEYS, 4))
redis.call('HSET', KEYS[1], 'session_id', room[4] or '', 'ended', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ENDED_TTL)
local whole = ARGV[1] .. tail(text(room[2] + 1), room[1], nil)
redis.call('SPUBLISH', KEYS[3], whole)
answer[#answer + 1] = whole
return answer
