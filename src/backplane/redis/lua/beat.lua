-- A node says that it lives, by the server's clock, and learns who else does and who does no more.
-- KEYS: 1 nodes
-- ARGV: 1 node, 2 lease ms, 3 '1' if it has said so before, 4 most dead nodes told
-- Returns {'ok', '1' if its lease had run out, ms until the next of the others is dead unless it beats ('' without
-- others), number of living nodes, living node, …, dead node, …}
local now = now()
local deadline = redis.call('ZSCORE', KEYS[1], ARGV[1])
local lost = ARGV[3] == '1' and (not deadline or tonumber(deadline) < now)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
local living = redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf')
-- In the order of their deadlines.
local next = living[1] ~= ARGV[1] and living[1] or living[2]
local left = next and text(redis.call('ZSCORE', KEYS[1], next) - now) or ''
local answer = {'ok', lost and '1' or '0', left, tostring(#living)}
for _, node in ipairs(living) do answer[#answer + 1] = node end
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now, 'LIMIT', 0, ARGV[4])) do
  answer[#answer + 1] = node
end
return answer
