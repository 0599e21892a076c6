-- Durable events: for each, state, log and publication in one step. Several may come in one call; each is
-- judged alone.
-- KEYS, for each: state, log, channel, chat, idempotency; the last two only when they are needed; then hooks with 10;
--       then the log of the document with 4
-- ARGV, for each: number of its keys, number of its arguments, then these:
--       1 envelope front, 2 the same for the log ('' when equal), 3 chat line ('' for none),
--       4 '-' when no text changes, else the epoch of the text that it changes, 5 the change, for the document's log,
--       6 '' when anybody may, else a user and roles: 'USER ,ROLE,ROLE,', 7 a field that goes ('' for none),
--       8 '' when the chat line is one more, else bytes of the one that it replaces, or that goes,
--       9 '' or a field and the value it must have, 'FIELD VALUE', 10 '1' when it goes to the hooks, too,
--       11… field, value pairs
-- Returns one text, which costs Redis far less than a list, with a line for each:
--       'ok <seq> <epoch> <version> <repeated 0|1>' | 'missing' | 'ended' | 'forbidden' | 'unmet' |
--       'stale' | 'failed <why>'

-- Whether the room gives the user one of the roles.
local function may(state, by)
  local user, roles = string.match(by, '^(%S+) (%S+)$')
  local given = redis.call('HMGET', state, 'host', 'role:' .. user, 'default_role')
  local role = given[1] == user and 'host' or given[2] and given[2] ~= '' and given[2] or given[3] or ''
  return string.find(roles, ',' .. role .. ',', 1, true) ~= nil
end

-- The chat line that has these bytes is another now, or none.
local function replace(chat, known_by, line)
  for at, known in ipairs(redis.call('LRANGE', chat, 0, -1)) do
    if string.find(known, known_by, 1, true) then
      if line == '' then
        redis.call('LREM', chat, 1, known)
      else
        redis.call('LSET', chat, at - 1, string.match(known, '^%d+ ') .. line)
      end
      return
    end
  end
end

-- One event: its keys are `keys` from KEYS[k] on, its arguments ARGV[a] to ARGV[last].
local function commit(k, keys, a, last)
  local state, rest = KEYS[k], keys
  local changes = ARGV[a + 3] ~= '-' and KEYS[k + rest - 1]
  if changes then rest = rest - 1 end
  local hooks = ARGV[a + 9] == '1' and KEYS[k + rest - 1]
  if hooks then rest = rest - 1 end
  local once = rest == 5 and KEYS[k + 4]
  local room = redis.call('HMGET', state, 'epoch', 'seq', 'version')
  local epoch = room[1]
  -- An ended room has lost its epoch.
  if not epoch then return redis.call('HEXISTS', state, 'ended') == 1 and 'ended' or 'missing' end
  if once then
    local known = redis.call('GET', once)
    -- A former session of that name may have left it; a former order of this one counts.
    local of = known and string.match(known, '%d+ (%d+)')
    if of and (of == epoch or of == redis.call('HGET', state, 'former')) then
      -- Something is written, so that who waits for a replica waits for what was done the first time, too.
      redis.call('PEXPIRE', once, IDEMPOTENCY_TTL)
      return 'ok ' .. known .. ' 1'
    end
  end
  if ARGV[a + 5] ~= '' and not may(state, ARGV[a + 5]) then return 'forbidden' end
  if ARGV[a + 8] ~= '' and not holds(state, ARGV[a + 8]) then return 'unmet' end
  local seq, version, changed = text(room[2] + 1), room[3], nil
  local line, base = ARGV[a + 2], ARGV[a + 3]
  if base == '-' then
    redis.call('HSET', state, 'seq', seq, unpack(ARGV, a + 10, last))
  else
    if base ~= epoch then return 'stale' end
    version = text(version + 1)
    changed = version
    redis.call('XADD', changes, version .. '-0', 'u', ARGV[a + 4])
    redis.call('HSET', state, 'seq', seq, 'version', version, unpack(ARGV, a + 10, last))
    if redis.call('XLEN', changes) == 1 then expire_with(state, changes) end
  end
  if ARGV[a + 6] ~= '' then redis.call('HDEL', state, ARGV[a + 6]) end
  if ARGV[a + 7] ~= '' then
    replace(KEYS[k + 3], ARGV[a + 7], line)
  elseif line ~= '' and redis.call('RPUSH', KEYS[k + 3], seq .. ' ' .. line) > CHAT_LENGTH then
    redis.call('LTRIM', KEYS[k + 3], -CHAT_LENGTH, -1)
  end
  append(KEYS[k + 1], KEYS[k + 2], seq, epoch, changed, ARGV[a], ARGV[a + 1])
  if hooks then
    redis.call('XADD', hooks, 'MAXLEN', '~', HOOKS_LENGTH, '*', 'e', ARGV[a] .. tail(seq, epoch, nil))
    redis.call('PEXPIRE', hooks, HOOKS_TTL)
  end
  local answer = seq .. ' ' .. epoch .. ' ' .. version
  if once then redis.call('SET', once, answer, 'PX', IDEMPOTENCY_TTL) end
  return 'ok ' .. answer .. ' 0'
end

local answers, k, a = {}, 1, 1
while a <= #ARGV do
  local keys, args = tonumber(ARGV[a]), tonumber(ARGV[a + 1])
  local done, answer = pcall(commit, k, keys, a + 2, a + 1 + args)
  if not done then
    local why = type(answer) == 'table' and answer.err or tostring(answer)
    answer = 'failed ' .. string.gsub(why, '\n', ' ')
  end
  answers[#answers + 1] = answer
  k, a = k + keys, a + 2 + args
end
return table.concat(answers, '\n')
