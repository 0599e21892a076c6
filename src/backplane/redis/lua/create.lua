-- Makes a room nobody is in yet.
-- KEYS: 1 state, 2 log, 3 chat, 4 members, 5 users; 6 snapshot, 7 log of a session's document
-- ARGV: 1 epoch, 2 number of chat lines, 3 '1' if it expires when nobody comes, then the chat lines, then
--       field, value pairs
-- Returns {'new'} | {'existing'} | {'ended'}
local room = redis.call('HMGET', KEYS[1], 'epoch', 'ended', 'session_id')
if room[2] then return {'ended'} end
if room[1] or room[3] then return {'existing'} end
redis.call('DEL', unpack(KEYS))
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'seq', 0, 'version', 0, 'code_version', 0, unpack(ARGV, 4 + ARGV[2]))
for at = 4, 3 + ARGV[2] do redis.call('RPUSH', KEYS[3], '0 ' .. ARGV[at]) end
if ARGV[3] == '1' then
  local kept = redis.call('HGET', KEYS[1], 'kept_until')
  local time = text(math.max(SESSION_TTL, kept and kept - now() or 0))
  if ARGV[2] ~= '0' then redis.call('PEXPIRE', KEYS[3], time) end
  redis.call('PEXPIRE', KEYS[1], time)
end
return {'new'}
