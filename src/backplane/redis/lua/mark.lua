-- All up to a place was told to a user.
-- KEYS: 1 state, 2 inbox
-- ARGV: 1 epoch, 2 seq
-- Returns {'ok'}
local room = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'told', 'bytes')
local seq = tonumber(ARGV[2])
-- In another order the seq is another letter's.
if room[1] ~= ARGV[1] or seq <= tonumber(room[3] or 0) or seq > tonumber(room[2]) then return {'ok'} end
local bytes = room[4]
if ARGV[2] ~= room[2] then
  local entry = redis.call('XRANGE', KEYS[2], ARGV[2] .. '-0', ARGV[2] .. '-0')[1]
  bytes = entry and entry[2][4]
end
redis.call('HSET', KEYS[1], 'told', ARGV[2])
if bytes then redis.call('HSET', KEYS[1], 'told_bytes', bytes) end
return {'ok'}
