-- A page of the rooms a node holds.
-- KEYS: 1 holdings
-- ARGV: 1 cursor, 2 about how many
-- Returns {next cursor, room, …}
local page = redis.call('SSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
return {page[1], unpack(page[2])}
