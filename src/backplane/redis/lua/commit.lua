-- A durable event: state, log and publication in one step.
-- KEYS: 1 state, 2 log, 3 channel, 4 chat, 5 idempotency (only when the command has an id)
-- ARGV: 1 envelope rest, 2 the same for the log ('' when equal), 3 log length, 4 log ttl ms,
--       5 idempotency ttl ms, 6 chat line ('' for none), 7 chat length,
--       8 '1' when the text changes, 9 the text, 10 the version it was made from ('' when not said),
--       11… field, value pairs
-- Returns {'ok', seq, epoch, version, repeated 0|1} | {'missing'} | {'ended'} | {'stale', version}
local room = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'version', 'ended')
local epoch = room[1]
if not epoch then return {'missing'} end
if room[4] then return {'ended'} end
if KEYS[5] then
  local known = redis.call('GET', KEYS[5])
  if known then
    local seq, version = string.match(known, '(%d+) (%d+)')
    return {'ok', tonumber(seq), epoch, tonumber(version), 1}
  end
end
local seq = tonumber(room[2]) + 1
local version = tonumber(room[3])
local set = {'HSET', KEYS[1], 'seq', text(seq)}
if ARGV[8] == '1' then
  if ARGV[10] ~= '' and tonumber(ARGV[10]) ~= version then return {'stale', version} end
  version = version + 1
  local shown = text(version)
  set[5], set[6] = 'code', ARGV[9]
  set[7], set[8] = 'version', shown
  set[9], set[10] = 'code_version', shown
end
for i = 11, #ARGV do set[#set + 1] = ARGV[i] end
redis.call(unpack(set))
if ARGV[6] ~= '' then
  if redis.call('RPUSH', KEYS[4], ARGV[6]) > tonumber(ARGV[7]) then
    redis.call('LTRIM', KEYS[4], -tonumber(ARGV[7]), -1)
  end
end
append(KEYS[2], KEYS[3], seq, epoch, ARGV[8] == '1' and version or nil, ARGV[1], ARGV[2], ARGV[3], ARGV[4])
if KEYS[5] then redis.call('SET', KEYS[5], text(seq) .. ' ' .. text(version), 'PX', ARGV[5]) end
return {'ok', seq, epoch, version, 0}
