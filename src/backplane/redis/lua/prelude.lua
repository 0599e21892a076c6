-- Shared by every script: put in front of each, so that it is part of its hash. Before it the node puts its
-- limits as constants, which spares every call their arguments:
--   LOG_LENGTH, LOG_TTL, CHAT_LENGTH, IDEMPOTENCY_TTL, SESSION_GRACE, SESSION_TTL, ENDED_TTL (times in ms),
--   INBOX_LENGTH, INBOX_BYTES, INBOX_TTL, HOOKS_LENGTH

-- How long hooks are kept that nobody fetches, in ms.
local HOOKS_TTL = 7 * 24 * 3600 * 1000

-- A whole number as text. Numbers handed to redis.call are printed as fractions, which costs several times
-- as much.
local function text(number)
  return string.format('%d', number)
end

-- Milliseconds since 1970, by the server's clock.
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A text of less than 256 bytes in MessagePack.
local function packed(text)
  if #text < 32 then return string.char(160 + #text) .. text end
  return string.char(217, #text) .. text
end

-- Whether a room has a list of its users, by the key that may be its first.
local function is_listed(key)
  return key and string.sub(key, -6) == ':names'
end

-- A key of a room that was just made expires when the room does, if that is to.
local function expire_with(state, key)
  local left = redis.call('PTTL', state)
  if left > 0 and redis.call('PTTL', key) == -1 then redis.call('PEXPIRE', key, left) end
end

-- Whether a field has its value, 'FIELD VALUE'; a missing field has none.
local function holds(state, condition)
  local field, value = string.match(condition, '^(%S+) (.*)$')
  return (redis.call('HGET', state, field) or '') == value
end

-- How an envelope ends: seq, epoch and the text version are known only here. They are texts, because packing
-- numbers costs more than the rest of the script. The node packs all before them, the envelope's front.
local function tail(seq, epoch, version)
  return '\163seq' .. packed(seq) .. '\165epoch' .. packed(epoch)
    .. '\167version' .. (version and packed(version) or '\192')
end

-- The event gets its place (seq and version as texts): into the log as <seq>-0, and to everyone who listens. A first event empties
-- what a former life of the room may have left. Length and age of the log are seen to every 64 events.
local function append(log, channel, seq, epoch, version, front, logged)
  local first = seq == '1'
  if first then redis.call('DEL', log) end
  local tail = tail(seq, epoch, version)
  local whole = front .. tail
  redis.call('XADD', log, seq .. '-0', 'e', logged == '' and whole or logged .. tail)
  if first or seq % 64 == 0 then
    redis.call('XTRIM', log, 'MAXLEN', '~', LOG_LENGTH)
    redis.call('PEXPIRE', log, LOG_TTL)
  end
  redis.call('SPUBLISH', channel, whole)
end
