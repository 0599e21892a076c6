-- What a node counted is added to what all nodes ever did: once, however often it is said and in whatever order.
-- KEYS: 1 counters
-- ARGV: 1 node, 2 and 3 sockets opened and events routed as far as the node knows to be added, 4 and 5 by now
-- Returns {'ok', sockets opened, events routed}
local added = redis.call('HGET', KEYS[1], ARGV[1]) or ARGV[2] .. ' ' .. ARGV[3]
local opened, routed = string.match(added, '(%d+) (%d+)')
local function add(field, before, by_now)
  before, by_now = tonumber(before), math.max(tonumber(before), tonumber(by_now))
  return text(by_now), text(redis.call('HINCRBY', KEYS[1], field, text(by_now - before)))
end
local opened, all_opened = add('opened', opened, ARGV[4])
local routed, all_routed = add('routed', routed, ARGV[5])
redis.call('HSET', KEYS[1], ARGV[1], opened .. ' ' .. routed)
return {'ok', all_opened, all_routed}
