-- A user follows an agent.
-- KEYS: 1 what the user follows
-- ARGV: 1 agent, 2 how many are followed at most, 3 ms that it is remembered
-- Returns {'ok'} | {'full'}
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[2]) then return {'full'} end
  redis.call('SADD', KEYS[1], ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {'ok'}
