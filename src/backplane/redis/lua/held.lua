-- A page of one node's members of a room.
-- KEYS: 1 members
-- ARGV: 1 how the node's socket ids begin, 2 cursor, 3 about how many to look at
-- Returns {next cursor, socket, member record, …}
local page = redis.call('HSCAN', KEYS[1], ARGV[2], 'COUNT', ARGV[3])
local answer, length = {page[1]}, #ARGV[1]
for i = 1, #page[2], 2 do
  if string.sub(page[2][i], 1, length) == ARGV[1] then
    answer[#answer + 1] = page[2][i]
    answer[#answer + 1] = page[2][i + 1]
  end
end
return answer
