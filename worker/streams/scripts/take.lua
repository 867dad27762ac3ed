#!lua flags=allow-oom
-- Takes the next frame of each of some cameras, none of which has one in work, and counts it and
-- what went before it in the ledger. What was delivered before and not answered comes first: that of
-- an owner before us, or of a blocking read.
--
-- KEYS: lease, ledger, then the stream of each camera.
-- ARGV: token, group, consumer, now (Unix ms), names of the fields epoch, seq and time, the bytes
--       after which nothing more is taken, the most bytes of a frame (a larger one has failed);
--       then of each camera: its id, its policy (latest, fifo, all), the greatest age in ms (0: any),
--       and the id of the entry whose fields the caller has already ('': none).
-- Returns a list of {number of the camera from 1 on, what, id, fields}, where `what` is
--       'new', 'claimed' (its fields are missing when the caller has them), or 'wrong': the key is
--       no stream. A camera without a frame is not in the list.
--
-- The ledger of a camera holds, at every moment:
--   produced = published + superseded + stale + trimmed + overwritten + failed + pending
-- `at` is the entry that is counted as pending.
local lease, ledger = KEYS[1], KEYS[2]
local token, group, consumer, now = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local epoch_field, seq_field, time_field = ARGV[5], ARGV[6], ARGV[7]
local enough, largest = tonumber(ARGV[8]), tonumber(ARGV[9])
if redis.call('GET', lease) ~= token then
  return redis.error_reply('LOST the lease ' .. lease .. ' is not ours')
end
local kind = redis.call('TYPE', ledger).ok
if kind ~= 'hash' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. ledger .. ' is a ' .. kind)
end
local wrong = {}
for i = 3, #KEYS do
  kind = redis.call('TYPE', KEYS[i]).ok
  wrong[i] = kind ~= 'stream' and kind ~= 'none'
end

local function add(camera, what, amount)
  if amount ~= 0 then redis.call('HINCRBY', ledger, camera .. ':' .. what, amount) end
end

-- Counts the entry as pending, and as many entries before it as were trimmed here. What is missing
-- between the sequence numbers was trimmed elsewhere. Returns its time and its bytes.
local function count(camera, id, fields, superseded)
  local epoch, seq, time, bytes = '', '', nil, 0
  for i = 1, #fields, 2 do
    bytes = bytes + #fields[i + 1]
    if fields[i] == epoch_field then epoch = fields[i + 1]
    elseif fields[i] == seq_field then seq = fields[i + 1]
    elseif fields[i] == time_field then time = tonumber(fields[i + 1]) end
  end
  local before = redis.call('HMGET', ledger, camera .. ':at', camera .. ':epoch', camera .. ':seq')
  if before[1] == id then return time, bytes end
  if before[1] and before[1] ~= '' then
    -- It was in work, and its delivery was forgotten: the group has been lost.
    if superseded > 0 then
      superseded = superseded - 1
      add(camera, 'superseded', 1)
    else
      add(camera, 'trimmed', 1)
    end
  end
  local gap = 0
  local number = seq:match('^%d+$') and #seq <= 15 and tonumber(seq)
  if number then
    local latest = before[2] == epoch and tonumber(before[3]) or 0  -- the first of an epoch is 1
    gap = math.min(math.max(number - latest - 1 - superseded, 0), 1000000000)
    if before[2] ~= epoch or tonumber(before[3] or 0) < number then
      redis.call('HSET', ledger, camera .. ':epoch', epoch, camera .. ':seq', seq)
    end
  end
  add(camera, 'produced', 1 + superseded + gap)
  add(camera, 'superseded', superseded)
  add(camera, 'trimmed', gap)
  redis.call('HSET', ledger, camera .. ':at', id, camera .. ':pending', 1)
  return time, bytes
end

-- What is counted as pending ends for this reason.
local function settle(camera, why)
  add(camera, why, 1)
  redis.call('HSET', ledger, camera .. ':at', '', camera .. ':pending', 0)
end

-- The oldest entry that was delivered and is still there, or nil.
local function claim(stream, camera)
  for _ = 1, 1000 do
    local pending = redis.pcall('XPENDING', stream, group, '-', '+', 1)
    if pending.err then
      if not pending.err:find('NOGROUP', 1, true) then return nil, pending end
      -- At 0 and not at $: what waits there is owed.
      redis.call('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
      return nil
    end
    if #pending == 0 then return nil end
    local id = pending[1][1]
    local entry = redis.call('XRANGE', stream, id, id)[1]
    if entry then
      redis.call('XCLAIM', stream, group, consumer, 0, id, 'JUSTID')
      return entry
    end
    redis.call('XACK', stream, group, id)
    if redis.call('HGET', ledger, camera .. ':at') == id then settle(camera, 'trimmed') end
  end
  return nil
end

local taken, total = {}, 0
for i = 3, #KEYS do
  if total >= enough then break end
  local stream = KEYS[i]
  local at = 10 + (i - 3) * 4
  local camera, policy, most_age, known = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3]
  if wrong[i] then
    taken[#taken + 1] = {i - 2, 'wrong'}
  else
    for _ = 1, 100 do
      local what, superseded = 'claimed', 0
      local entry, problem = claim(stream, camera)
      if problem then return problem end
      if not entry then
        what = 'new'
        if policy == 'latest' then superseded = redis.call('XTRIM', stream, 'MAXLEN', 1) end
        local read = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', 1,
                                'STREAMS', stream, '>')
        entry = read and read[1][2][1]
      end
      if not entry then break end
      local id, fields = entry[1], entry[2]
      local time, bytes = count(camera, id, fields, superseded)
      local is_stale = most_age > 0 and time and now - time > most_age
      if is_stale or bytes > largest then
        redis.call('XACK', stream, group, id)
        redis.call('XDEL', stream, id)
        settle(camera, is_stale and 'stale' or 'failed')
      else
        total = total + bytes
        taken[#taken + 1] = id == known and {i - 2, what, id} or {i - 2, what, id, fields}
        break
      end
    end
  end
end
return taken
