-- Sockets go; a repeat does nothing. A user's last socket commits `left`; a room without sockets begins to
-- expire.
-- KEYS: 1 state, 2 log, 3 channel, 4 chat, 5 members, 6 users
-- ARGV, for each socket: socket, user, envelope front
-- Returns {'ok'}
local epoch, gone = redis.call('HGET', KEYS[1], 'epoch'), false
for i = 1, #ARGV, 3 do
  if redis.call('HDEL', KEYS[5], ARGV[i]) == 1 then
    gone = true
    if redis.call('HINCRBY', KEYS[6], ARGV[i + 1], -1) <= 0 then
      redis.call('HDEL', KEYS[6], ARGV[i + 1])
      if epoch then
        local seq = text(redis.call('HINCRBY', KEYS[1], 'seq', 1))
        append(KEYS[2], KEYS[3], seq, epoch, nil, ARGV[i + 2], '')
      end
    end
  end
end
-- The marker of an ended room has an expiry of its own.
if gone and epoch and redis.call('HLEN', KEYS[5]) == 0 then
  local kept = redis.call('HGET', KEYS[1], 'kept_until')
  local grace = text(math.max(SESSION_GRACE, kept and kept - now() or 0))
  for _, i in ipairs({1, 2, 4, 5, 6}) do redis.call('PEXPIRE', KEYS[i], grace) end
end
return {'ok'}
