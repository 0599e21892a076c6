-- One of a room's hooks is done with, or given up.
-- KEYS: 1 hooks, 2 tries, 3 those given up
-- ARGV: 1 place, 2 '1' when it is given up, 3 most of those, 4 ms that they are kept
-- Returns {'ok'}
if ARGV[2] == '1' then
  local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
  if entry then
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', unpack(entry[2]))
    redis.call('PEXPIRE', KEYS[3], ARGV[4])
  end
end
redis.call('XDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
if redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', KEYS[1], KEYS[2]) end
return {'ok'}
