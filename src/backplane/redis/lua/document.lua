-- A document at one instant: its snapshot and all that came since, or what came since a version of that epoch.
-- KEYS: 1 state, 2 snapshot, 3 log of updates
-- ARGV: 1 the epoch of the version that is known ('' for none), 2 that version
-- Returns {'ok', epoch, version, base ('' for none, 'known'), snapshot, text, the text's version, version, update, …}
--       | {'missing'} | {'ended'}
local room = redis.call('HMGET', KEYS[1], 'epoch', 'version', 'ended', 'code', 'code_version')
if room[3] then return {'ended'} end
if not room[1] then return {'missing'} end
local doc = redis.call('HMGET', KEYS[2], 'base', 'state')
local base, state, known = doc[1] or '', doc[2] or '', tonumber(ARGV[2])
local from = tonumber(doc[1] or 0)
if ARGV[1] == room[1] and known >= from and known <= tonumber(room[2] or 0) then
  base, state, from = 'known', '', known
end
local answer = {'ok', room[1], room[2] or '0', base, state, room[4] or '', room[5] or '0'}
for _, entry in ipairs(redis.call('XRANGE', KEYS[3], '(' .. text(from) .. '-0', '+')) do
  answer[#answer + 1] = string.match(entry[1], '^%d+')
  answer[#answer + 1] = entry[2][2]
end
return answer
