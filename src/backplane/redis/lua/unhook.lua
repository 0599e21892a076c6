-- One of a room's hooks is done with.
-- KEYS: 1 hooks
-- ARGV: 1 place
-- Returns {'ok'}
redis.call('XDEL', KEYS[1], ARGV[1])
if redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', KEYS[1]) end
return {'ok'}
