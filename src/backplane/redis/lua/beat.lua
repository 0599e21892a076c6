-- A node says that it lives, by the server's clock, and learns who else does.
-- KEYS: 1 nodes
-- ARGV: 1 node, 2 lease ms
-- Returns {'ok', node, …}
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
-- Long gone nodes leave no trace.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 3600000)
local answer = {'ok'}
for i, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf')) do answer[i + 1] = node end
return answer
