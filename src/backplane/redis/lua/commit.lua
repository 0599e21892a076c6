-- A durable event: state, log and publication in one step.
-- KEYS: 1 state, 2 log, 3 channel, 4 chat, 5 idempotency; the last ones only when they are needed
-- ARGV: 1 envelope rest, 2 the same for the log ('' when equal), 3 chat line ('' for none),
--       4 '-' when no text changes, else the version it was made from ('' when not said), 5 the text,
--       6… field, value pairs
-- Returns one text, which costs Redis far less than a list: 'ok <seq> <epoch> <version> <repeated 0|1>' |
-- 'missing' | 'ended' | 'stale <version>'
local room = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'version')
local epoch = room[1]
-- An ended room has lost its epoch.
if not epoch then return redis.call('HEXISTS', KEYS[1], 'ended') == 1 and 'ended' or 'missing' end
if KEYS[5] then
  local known = redis.call('GET', KEYS[5])
  if known then
    local of = string.match(known, '%d+ (%d+)')
    -- A former session of that name may have left it.
    if of == epoch then return 'ok ' .. known .. ' 1' end
  end
end
local seq, version, changed = text(room[2] + 1), room[3], nil
if ARGV[4] == '-' then
  redis.call('HSET', KEYS[1], 'seq', seq, unpack(ARGV, 6))
else
  if ARGV[4] ~= '' and ARGV[4] ~= version then return 'stale ' .. version end
  version = text(version + 1)
  changed = version
  redis.call('HSET', KEYS[1], 'seq', seq, 'version', version, 'code_version', version, 'code', ARGV[5], unpack(ARGV, 6))
end
if ARGV[3] ~= '' and redis.call('RPUSH', KEYS[4], seq .. ' ' .. ARGV[3]) > CHAT_LENGTH then
  redis.call('LTRIM', KEYS[4], -CHAT_LENGTH, -1)
end
append(KEYS[2], KEYS[3], seq, epoch, changed, ARGV[1], ARGV[2])
local answer = seq .. ' ' .. epoch .. ' ' .. version
if KEYS[5] then redis.call('SET', KEYS[5], answer, 'PX', IDEMPOTENCY_TTL) end
return 'ok ' .. answer .. ' 0'
