-- Frees the places of a user that one node's sockets took.
-- KEYS: 1 places
-- ARGV: 1 how the node's socket ids begin
-- Returns {'ok'}
for _, socket in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if string.sub(socket, 1, #ARGV[1]) == ARGV[1] then redis.call('SREM', KEYS[1], socket) end
end
return {'ok'}
