-- What a user has not been told; no more than an inbox takes.
-- KEYS: 1 state, 2 inbox
-- Returns {'ok', epoch, seq, envelope, …} | {'missing'}
local room = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'told')
if not room[1] then return {'missing'} end
local answer, told = {'ok', room[1], room[2] or '0'}, room[3] or '0'
if told == answer[3] then return answer end
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '(' .. told .. '-0', '+')) do
  answer[#answer + 1] = entry[2][2]
end
return answer
