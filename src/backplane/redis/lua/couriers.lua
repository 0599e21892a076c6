-- A page of the users a room lists, in the order of their ids.
-- KEYS: 1 names, 2 records
-- ARGV: 1 the user behind whom it begins ('' for the first), 2 most users
-- Returns {number of all, user, record, …}
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local answer = {text(redis.call('ZCARD', KEYS[1]))}
if ARGV[2] == '0' then return answer end
for _, user in ipairs(redis.call('ZRANGEBYLEX', KEYS[1], from, '+', 'LIMIT', 0, ARGV[2])) do
  answer[#answer + 1] = user
  answer[#answer + 1] = redis.call('HGET', KEYS[2], user) or ''
end
return answer
