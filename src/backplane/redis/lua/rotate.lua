-- A new order for a room that gave a seq twice: whoever knows the old one starts afresh.
-- KEYS: 1 state, 2 log
-- ARGV: 1 the epoch that is to end, 2 the new one, 3 '1' when the log stays: an inbox
-- Returns {'ok'}
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then
  -- Commands that were done in the old order are not done again in the new one.
  redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'former', ARGV[1])
  if ARGV[3] ~= '1' then redis.call('DEL', KEYS[2]) end
end
return {'ok'}
