-- The log after a position: complete or not at all, or the end of it, as far back as it reaches.
-- KEYS: 1 state, 2 log
-- ARGV: 1 epoch, 2 seq, 3 most events, 4 '1' when the end will do
-- Returns {'ok', envelope, …} | {'gone'}
local room = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'ended')
if room[1] ~= ARGV[1] or room[3] then return {'gone'} end
local now, since, most = tonumber(room[2]), tonumber(ARGV[2]), tonumber(ARGV[3])
local part = ARGV[4] == '1'
if part then since = math.max(since, now - most) end
local missed = now - since
if missed == 0 then return {'ok'} end
if missed < 0 or missed > most then return {'gone'} end
local entries = redis.call('XRANGE', KEYS[2], '(' .. text(since) .. '-0', '+')
local count = #entries
-- Without a hole between its first and now; ids only grow, so both ends say that.
local first = part and now - count + 1 or since + 1
if count == 0 or entries[1][1] ~= text(first) .. '-0' or entries[count][1] ~= text(now) .. '-0'
  or count ~= now - first + 1 then return {'gone'} end
local answer = {'ok'}
for i, entry in ipairs(entries) do answer[i + 1] = entry[2][2] end
return answer
