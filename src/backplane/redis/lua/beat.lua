-- A node says that it lives, by the server's clock, and learns who else does and who does no more.
-- KEYS: 1 nodes
-- ARGV: 1 node, 2 lease ms, 3 '1' if it has said so before, 4 most dead nodes told
-- Returns {'ok', '1' if its lease had run out, number of living nodes, living node, …, dead node, …}
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local deadline = redis.call('ZSCORE', KEYS[1], ARGV[1])
local lost = ARGV[3] == '1' and (not deadline or tonumber(deadline) < now)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
local living = redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf')
local answer = {'ok', lost and '1' or '0', tostring(#living)}
for _, node in ipairs(living) do answer[#answer + 1] = node end
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now, 'LIMIT', 0, ARGV[4])) do
  answer[#answer + 1] = node
end
return answer
