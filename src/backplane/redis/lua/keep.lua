-- A session that code rooms have changed is kept for a while after the change, also when everybody has left before.
-- KEYS: 1 state, 2 log, 3 channel, 4 chat, 5 members, 6 users, 7 snapshot, 8 log of its document
-- ARGV: 1 ms
-- Returns {'ok'}
if redis.call('HEXISTS', KEYS[1], 'epoch') == 0 then return {'ok'} end
redis.call('HSET', KEYS[1], 'kept_until', text(now() + ARGV[1]))
local left = redis.call('PTTL', KEYS[1])
if left >= 0 and left < tonumber(ARGV[1]) then
  for i = 1, #KEYS do
    if i ~= 3 then redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
  end
end
return {'ok'}
