-- Another snapshot in place of the one that is there and of the log up to it.
-- KEYS: 1 state, 2 snapshot, 3 log of updates
-- ARGV: 1 epoch, 2 version of the snapshot that is there ('' for none), 3 version of the new one, 4 the new one
-- Returns {'ok', 1 | 0 when the room is in another epoch, or has another snapshot} | {'missing'} | {'ended'}
local room = redis.call('HMGET', KEYS[1], 'epoch', 'version', 'ended')
if room[3] then return {'ended'} end
if not room[1] then return {'missing'} end
local base = redis.call('HGET', KEYS[2], 'base') or ''
if room[1] ~= ARGV[1] or base ~= ARGV[2] or tonumber(ARGV[3]) > tonumber(room[2] or 0) then return {'ok', 0} end
redis.call('HSET', KEYS[2], 'base', ARGV[3], 'state', ARGV[4])
redis.call('XTRIM', KEYS[3], 'MINID', text(ARGV[3] + 1) .. '-0')
expire_with(KEYS[1], KEYS[2])
return {'ok', 1}
