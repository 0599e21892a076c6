-- A socket comes into a room; a repeat changes nothing. A user's first socket commits `joined`.
-- KEYS: 1 state, 2 log, 3 channel, 4 chat, 5 members, 6 users; 7 names, 8 records, of a room whose users are listed; 7 snapshot,
--       8 log of a session's document
-- ARGV: 1 socket, 2 member record, 3 user, 4 envelope front ('' for none), 5 epoch for a new room,
--       6 '1' when a missing room is made, 7 most admitted users, 8 ms that the log lives on,
--       9… initial field, value pairs
-- Returns {'ok'} | {'missing'} | {'ended'} | {'forbidden'}
local room = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'ended', 'role:' .. ARGV[3])
local epoch = room[1]
if room[3] then return {'ended'} end
if room[4] == 'banned' then return {'forbidden'} end
local seq = tonumber(room[2] or 0)
if not epoch then
  -- A hash without an epoch is a session of the service this replaces: it is taken over as it is.
  local old = redis.call('HEXISTS', KEYS[1], 'session_id') == 1
  if not old and ARGV[6] ~= '1' then return {'missing'} end
  epoch = ARGV[5]
  for i = 2, #KEYS do
    if i ~= 3 then redis.call('DEL', KEYS[i]) end
  end
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'seq', 0, 'version', 0, 'code_version', 0)
  for i = 9, #ARGV, 2 do redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
if redis.call('HSETNX', KEYS[5], ARGV[1], ARGV[2]) == 0 then return {'ok'} end
if redis.call('HLEN', KEYS[5]) == 1 then
  for i = 1, #KEYS do
    if i ~= 2 then redis.call('PERSIST', KEYS[i]) end
  end
  redis.call('PEXPIRE', KEYS[2], ARGV[8])
end
if redis.call('HINCRBY', KEYS[6], ARGV[3], 1) > 1 then return {'ok'} end
if is_listed(KEYS[7]) then
  redis.call('ZADD', KEYS[7], 0, ARGV[3])
  redis.call('HSET', KEYS[8], ARGV[3], ARGV[2])
end
if ARGV[4] == '' then return {'ok'} end

-- Whoever comes first is admitted, unless a match named its users. Ids hold no quotes, so the JSON can
-- be searched and extended as text; cjson would write an empty list as {}. How many there are is kept beside it:
-- counting a long list, or looking for somebody in a full one, costs more than all the rest.
local known = redis.call('HMGET', KEYS[1], 'matched', 'user_count')
local most, count = tonumber(ARGV[7]), tonumber(known[2] or -1)
if most > 0 and not known[1] and count < most then
  local list, quoted = redis.call('HGET', KEYS[1], 'users') or '[]', '"' .. ARGV[3] .. '"'
  if not string.find(list, quoted, 1, true) then
    if list == '[]' then
      list, count = '[' .. quoted .. ']', 1
    else
      if count < 0 then count = select(2, string.gsub(list, ',', '')) + 1 end
      if count < most then list, count = string.sub(list, 1, -2) .. ',' .. quoted .. ']', count + 1 end
    end
    redis.call('HSET', KEYS[1], 'users', list, 'user_count', text(count))
  end
end
local next = text(seq + 1)
redis.call('HSET', KEYS[1], 'seq', next)
append(KEYS[2], KEYS[3], next, epoch, nil, ARGV[4], '')
return {'ok'}
