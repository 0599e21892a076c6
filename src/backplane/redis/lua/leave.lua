-- A socket goes; a repeat does nothing. A user's last socket commits `left`; a room without sockets
-- begins to expire.
-- KEYS: 1 state, 2 log, 3 channel, 4 chat, 5 members, 6 users
-- ARGV: 1 socket, 2 user, 3 envelope rest, 4 log length, 5 log ttl ms, 6 session grace ms
-- Returns {'ok'}
if redis.call('HDEL', KEYS[5], ARGV[1]) == 0 then return {'ok'} end
if redis.call('HINCRBY', KEYS[6], ARGV[2], -1) <= 0 then
  redis.call('HDEL', KEYS[6], ARGV[2])
  local room = redis.call('HMGET', KEYS[1], 'epoch', 'ended')
  if room[1] and not room[2] then
    local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
    append(KEYS[2], KEYS[3], seq, room[1], nil, ARGV[3], '', ARGV[4], ARGV[5])
  end
end
if redis.call('HLEN', KEYS[5]) == 0 and not redis.call('HGET', KEYS[1], 'ended') then
  for _, i in ipairs({1, 2, 4, 5, 6}) do redis.call('PEXPIRE', KEYS[i], ARGV[6]) end
end
return {'ok'}
