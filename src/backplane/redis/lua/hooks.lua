-- The oldest of a room's hooks.
-- KEYS: 1 hooks
-- ARGV: 1 how many
-- Returns {place, envelope, …}
local answer = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1])) do
  answer[#answer + 1] = entry[1]
  answer[#answer + 1] = entry[2][2]
end
return answer
