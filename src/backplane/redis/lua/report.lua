-- A latest-wins event of a room: published, never logged; its last value stays in the state.
-- KEYS: 1 state, 2 channel
-- ARGV: 1 envelope, 2 a field and the value it must have, 'FIELD VALUE', 3… field, value pairs
-- Returns {'ok'} | {'missing'} | {'ended'} | {'unmet'}
if redis.call('HEXISTS', KEYS[1], 'epoch') == 0 then
  return {redis.call('HEXISTS', KEYS[1], 'ended') == 1 and 'ended' or 'missing'}
end
if not holds(KEYS[1], ARGV[2]) then return {'unmet'} end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('SPUBLISH', KEYS[2], ARGV[1])
return {'ok'}
