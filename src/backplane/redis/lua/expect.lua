-- Things are due when a time has passed.
-- KEYS: 1 queue
-- ARGV: 1 ms, 2 '1' when those stay that are due sooner, 3… things
-- Returns {'ok'}
local at = text(now() + ARGV[1])
for i = 3, #ARGV do
  if ARGV[2] == '1' then
    redis.call('ZADD', KEYS[1], 'LT', at, ARGV[i])
  else
    redis.call('ZADD', KEYS[1], at, ARGV[i])
  end
end
return {'ok'}
