-- Things are due when a time has passed.
-- KEYS: 1 queue
-- ARGV: 1 ms, 2 '1' when only those that are waited for already, 3… things
-- Returns {thing, …}, those that are not
local at, unknown = text(now() + ARGV[1]), {}
for i = 3, #ARGV do
  if ARGV[2] == '1' and not redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    unknown[#unknown + 1] = ARGV[i]
  else
    redis.call('ZADD', KEYS[1], at, ARGV[i])
  end
end
return unknown
