-- A latest-wins event: published, never logged. Its last value stays in the sender's member record, if
-- the sender is still a member.
-- KEYS: 1 members, 2 channel
-- ARGV: 1 envelope ('' for none), 2 socket ('' when no record changes), 3 member record
-- Returns {'ok'}
if ARGV[2] ~= '' and redis.call('HEXISTS', KEYS[1], ARGV[2]) == 1 then
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
end
if ARGV[1] ~= '' then redis.call('SPUBLISH', KEYS[2], ARGV[1]) end
return {'ok'}
