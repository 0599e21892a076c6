-- The text where people look for it, unless a newer one is there.
-- KEYS: 1 state
-- ARGV: 1 epoch, 2 version, 3 text
-- Returns {'ok', 1 | 0} | {'missing'} | {'ended'}
local room = redis.call('HMGET', KEYS[1], 'epoch', 'code_version', 'ended')
if room[3] then return {'ended'} end
if not room[1] then return {'missing'} end
if room[1] ~= ARGV[1] or tonumber(room[2] or 0) >= tonumber(ARGV[2]) then return {'ok', 0} end
redis.call('HSET', KEYS[1], 'code', ARGV[3], 'code_version', ARGV[2])
return {'ok', 1}
