-- A room at one instant.
-- KEYS: 1 state, 2 members, 3 users, 4 chat
-- ARGV: 1 most members listed
-- Returns {state as field, value, …}, {member record, …}, number of users, {'<seq> <line>', …}
local most = tonumber(ARGV[1])
local members = {}
if redis.call('HLEN', KEYS[2]) <= most then
  members = redis.call('HVALS', KEYS[2])
elseif most > 0 then
  local cursor = '0'
  repeat
    local page = redis.call('HSCAN', KEYS[2], cursor, 'COUNT', most)
    cursor = page[1]
    for i = 2, #page[2], 2 do
      if #members < most then members[#members + 1] = page[2][i] end
    end
  until cursor == '0' or #members >= most
end
return {redis.call('HGETALL', KEYS[1]), members, redis.call('HLEN', KEYS[3]), redis.call('LRANGE', KEYS[4], 0, -1)}
