-- A new order for a room that gave a seq twice: whoever knows the old one starts afresh.
-- KEYS: 1 state, 2 log
-- ARGV: 1 the epoch that is to end, 2 the new one
-- Returns {'ok'}
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[2])
  redis.call('DEL', KEYS[2])
end
return {'ok'}
