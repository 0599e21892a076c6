-- The log after a position, complete or not at all.
-- KEYS: 1 state, 2 log
-- ARGV: 1 epoch, 2 seq, 3 most events
-- Returns {'ok', envelope, …} | {'gone'}
local room = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'ended')
if room[1] ~= ARGV[1] or room[3] then return {'gone'} end
local missed = tonumber(room[2]) - tonumber(ARGV[2])
if missed == 0 then return {'ok'} end
if missed < 0 or missed > tonumber(ARGV[3]) then return {'gone'} end
local entries = redis.call('XRANGE', KEYS[2], '(' .. ARGV[2] .. '-0', '+')
if #entries ~= missed then return {'gone'} end
local answer = {'ok'}
for i, entry in ipairs(entries) do answer[i + 1] = entry[2][2] end
return answer
