-- Sockets go; a repeat does nothing. A user's last socket commits `left`; a room without sockets begins to
-- expire.
-- KEYS: 1 state, 2 log, 3 channel, 4 chat, 5 members, 6 users; 7 names, 8 records, of a room whose users are listed; 7 snapshot,
--       8 log of a session's document
-- ARGV: 1 ms that a room without sockets lives on; then for each socket: socket, user, envelope front ('' for none)
-- Returns {'ok'}
local epoch, gone = redis.call('HGET', KEYS[1], 'epoch'), false
for i = 2, #ARGV, 3 do
  if redis.call('HDEL', KEYS[5], ARGV[i]) == 1 then
    gone = true
    if redis.call('HINCRBY', KEYS[6], ARGV[i + 1], -1) <= 0 then
      redis.call('HDEL', KEYS[6], ARGV[i + 1])
      if is_listed(KEYS[7]) then
        redis.call('ZREM', KEYS[7], ARGV[i + 1])
        redis.call('HDEL', KEYS[8], ARGV[i + 1])
      end
      if epoch and ARGV[i + 2] ~= '' then
        local seq = text(redis.call('HINCRBY', KEYS[1], 'seq', 1))
        append(KEYS[2], KEYS[3], seq, epoch, nil, ARGV[i + 2], '')
      end
    end
  end
end
-- The marker of an ended room has an expiry of its own.
if gone and epoch and redis.call('HLEN', KEYS[5]) == 0 then
  local kept = redis.call('HGET', KEYS[1], 'kept_until')
  local grace = text(math.max(tonumber(ARGV[1]), kept and kept - now() or 0))
  for i = 1, #KEYS do
    if i ~= 3 then redis.call('PEXPIRE', KEYS[i], grace) end
  end
end
return {'ok'}
