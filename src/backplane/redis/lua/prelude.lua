-- Shared by every script: put in front of each, so that it is part of its hash.

-- An envelope: version byte 1, then a MessagePack map of 9 fields. seq, epoch and the text version are
-- known only here; `rest` holds the other six, packed by the node.
local function envelope(seq, epoch, version, rest)
  return '\1\137\163seq\207' .. struct.pack('>I8', seq)
    .. '\165epoch\207' .. struct.pack('>I8', tonumber(epoch))
    .. '\167version' .. (version and ('\207' .. struct.pack('>I8', version)) or '\192')
    .. rest
end

-- A whole number as text. Numbers handed to redis.call are printed as fractions, which costs several times
-- as much.
local function text(number)
  return string.format('%d', number)
end

-- The event gets its place: into the log as <seq>-0, and to everyone who listens. A first event empties
-- what a former life of the room may have left. Length and age of the log are seen to every 64 events.
local function append(log, channel, seq, epoch, version, rest, logged, length, ttl)
  if seq == 1 then redis.call('DEL', log) end
  local whole = envelope(seq, epoch, version, rest)
  redis.call('XADD', log, text(seq) .. '-0',
    'e', logged == '' and whole or envelope(seq, epoch, version, logged))
  if seq % 64 == 1 then
    redis.call('XTRIM', log, 'MAXLEN', '~', length)
    redis.call('PEXPIRE', log, ttl)
  end
  redis.call('SPUBLISH', channel, whole)
end
