-- A socket takes one of its user's places. Only when all are taken is it seen whether some belong to nodes that
-- are gone; those are free.
-- KEYS: 1 places
-- ARGV: 1 socket, 2 number of places, 3… how the socket ids of nodes that are gone begin
-- Returns {'ok'} | {'full'}
local most = tonumber(ARGV[2])
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 then return {'ok'} end
if redis.call('SCARD', KEYS[1]) >= most then
  for _, socket in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    for i = 3, #ARGV do
      if string.sub(socket, 1, #ARGV[i]) == ARGV[i] then redis.call('SREM', KEYS[1], socket) end
    end
  end
  if redis.call('SCARD', KEYS[1]) >= most then return {'full'} end
end
redis.call('SADD', KEYS[1], ARGV[1])
return {'ok'}
