-- A letter to several users: for each, into the inbox and out to who listens. Several users go in one call, which is
-- one step: all of them have it, or nobody.
-- KEYS, for each: state, inbox, channel, users, contacts; and idempotency with an id
-- ARGV: 1 envelope front up to the room's name, 2 the rest of it, 3 its sender, 4 epoch for new rooms,
--       5 '1' when it is kept for who is away, 6 number of keys of each, 7 most contacts remembered,
--       8… the rooms' names
-- Returns {'present' | 'kept' | 'absent' | 'full' for each}
local behind, size, each = ARGV[2], #ARGV[2], tonumber(ARGV[6])
local time = now()

local function route(k, name)
  local state, inbox, contacts, once = KEYS[k], KEYS[k + 1], KEYS[k + 4], each == 6 and KEYS[k + 5]
  if once then
    local known = redis.call('GET', once)
    if known then
      -- Something is written, so that who waits for a replica waits for what was done the first time, too.
      redis.call('PEXPIRE', once, IDEMPOTENCY_TTL)
      return known
    end
  end
  local present = redis.call('HLEN', KEYS[k + 3]) > 0
  if not present and ARGV[5] ~= '1' then return 'absent' end
  local room = redis.call('HMGET', state, 'epoch', 'seq', 'told', 'bytes', 'told_bytes')
  local epoch, seq, bytes = room[1] or ARGV[4], tonumber(room[2] or 0) + 1, tonumber(room[4] or 0)
  local waiting = bytes - tonumber(room[5] or 0)
  -- What somebody was promised is not dropped for what comes later. One letter is taken whatever its size.
  if seq - tonumber(room[3] or 0) > INBOX_LENGTH or waiting > 0 and waiting + size > INBOX_BYTES then
    return 'full'
  end
  if not room[1] then redis.call('DEL', inbox) end
  seq, bytes = text(seq), text(bytes + size)
  redis.call('HSET', state, 'epoch', epoch, 'seq', seq, 'bytes', bytes)
  local whole = ARGV[1] .. packed(name) .. behind .. tail(seq, epoch, nil)
  redis.call('XADD', inbox, 'MAXLEN', '=', INBOX_LENGTH, seq .. '-0', 'e', whole, 'b', bytes)
  redis.call('PEXPIRE', inbox, INBOX_TTL)
  redis.call('ZADD', contacts, time, ARGV[3])
  redis.call('ZREMRANGEBYRANK', contacts, 0, -1 - tonumber(ARGV[7]))
  redis.call('PEXPIRE', contacts, INBOX_TTL)
  if not present then redis.call('PEXPIRE', state, INBOX_TTL) end
  redis.call('SPUBLISH', KEYS[k + 2], whole)
  local answer = present and 'present' or 'kept'
  if once then redis.call('SET', once, answer, 'PX', IDEMPOTENCY_TTL) end
  return answer
end

local answers = {}
for i = 8, #ARGV do answers[#answers + 1] = route(1 + (i - 8) * each, ARGV[i]) end
return answers
