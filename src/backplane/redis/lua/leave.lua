-- A socket goes; a repeat does nothing. A user's last socket commits `left`; a room without sockets
-- begins to expire.
-- KEYS: 1 state, 2 log, 3 channel, 4 chat, 5 members, 6 users
-- ARGV: 1 socket, 2 user, 3 envelope rest
-- Returns {'ok'}
if redis.call('HDEL', KEYS[5], ARGV[1]) == 0 then return {'ok'} end
if redis.call('HINCRBY', KEYS[6], ARGV[2], -1) <= 0 then
  redis.call('HDEL', KEYS[6], ARGV[2])
  local epoch = redis.call('HGET', KEYS[1], 'epoch')
  if epoch then
    local seq = text(redis.call('HINCRBY', KEYS[1], 'seq', 1))
    append(KEYS[2], KEYS[3], seq, epoch, nil, ARGV[3], '')
  end
end
-- The marker of an ended room has an expiry of its own.
if redis.call('HLEN', KEYS[5]) == 0 and redis.call('HEXISTS', KEYS[1], 'epoch') == 1 then
  for _, i in ipairs({1, 2, 4, 5, 6}) do redis.call('PEXPIRE', KEYS[i], SESSION_GRACE) end
end
return {'ok'}
