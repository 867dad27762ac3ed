#!lua flags=allow-oom
-- Takes the next frame of each of some cameras, none of which has one in work, and counts it and
-- what went before it in the ledger. What was delivered before and not answered comes first: that of
-- an owner before us, or of a blocking read.
--
-- KEYS: lease, ledger, then the stream of each camera.
-- ARGV: token, group, consumer, now (Unix ms), names of the fields epoch, seq and time, the bytes
--       that all frames may have together, the most bytes of a frame (a larger one has failed);
--       bytes are those of all names and values;
--       then of each camera: its id, its policy (latest, fifo, all), the greatest age in ms (0: any),
--       and the id of the entry whose fields the caller has already ('': none).
-- Returns a list of {number of the camera from 1 on, what, id, fields}, where `what` is
--       'new', 'claimed' (its fields are missing when the caller has them), 'large': it has more
--       bytes than are left, here instead of the fields, and waits, delivered, for a call with room
--       for it; 'wrong': the key is no stream; or 'uncounted': the ledger has something of the
--       camera that is no number. A camera without a frame is not in the list, nor are those after
--       which so many bytes had been read as the frames may have.
--
-- The ledger of a camera holds, at every moment:
--   produced = published + superseded + stale + trimmed + overwritten + failed + pending
-- `at` is the entry that is counted as pending, `epoch` and `seq` are the latest of the producer,
-- `epoch0` and `seq0` those of the epoch before: when two producers take turns, each keeps its count.
local lease, ledger = KEYS[1], KEYS[2]
local token, group, consumer, now = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local epoch_field, seq_field, time_field = ARGV[5], ARGV[6], ARGV[7]
local enough, largest = tonumber(ARGV[8]), tonumber(ARGV[9])
-- Of the frames before the first one of an epoch that was seen.
local most_before = 1000
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

-- Text of at most 15 decimal digits as a number, else nil.
local function number_of(text)
  return text and #text <= 15 and text:match('^%d+$') and tonumber(text) or nil
end

-- Whether all that is counted of the camera are numbers, which nothing can be added to otherwise.
local function is_countable(camera)
  local names = {}
  for i, what in ipairs({'produced', 'published', 'superseded', 'stale', 'trimmed', 'overwritten',
                         'failed', 'pending'}) do
    names[i] = camera .. ':' .. what
  end
  for _, count in ipairs(redis.call('HMGET', ledger, unpack(names))) do
    if count and not number_of(count) then return false end
  end
  return true
end

-- How many frames are missing before the one with this number, and notes it.
local function gap_before(camera, epoch, number, superseded, known)
  local latest
  if known[1] == epoch then
    latest = number_of(known[2]) or 0
    if number > latest then redis.call('HSET', ledger, camera .. ':seq', number) end
  else
    -- The first of an epoch is 1. An epoch that nobody knew cannot be believed everything.
    latest = known[3] == epoch and number_of(known[4]) or math.max(number - 1 - most_before, 0)
    redis.call('HSET', ledger, camera .. ':epoch', epoch,
               camera .. ':seq', math.max(number, latest))
    if known[1] then
      redis.call('HSET', ledger, camera .. ':epoch0', known[1], camera .. ':seq0', known[2] or 0)
    end
  end
  return math.min(math.max(number - latest - 1 - superseded, 0), 1000000000)
end

-- Counts the entry as pending, and as many entries before it as were trimmed here. What is missing
-- between the sequence numbers was trimmed elsewhere. Returns its time, or that of its id when the
-- producer says none, and its bytes.
local function count(camera, id, fields, superseded)
  local epoch, seq, time, bytes = '', '', nil, 0
  for i = 1, #fields, 2 do
    bytes = bytes + #fields[i] + #fields[i + 1]
    if fields[i] == epoch_field then epoch = fields[i + 1]
    elseif fields[i] == seq_field then seq = fields[i + 1]
    elseif fields[i] == time_field then time = number_of(fields[i + 1]) end
  end
  if not time or time == 0 then time = tonumber(id:match('^%d+')) end
  local before = redis.call('HMGET', ledger, camera .. ':at', camera .. ':epoch', camera .. ':seq',
                            camera .. ':epoch0', camera .. ':seq0')
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
  local number = number_of(seq)
  local gap = number and gap_before(camera, epoch, number, superseded,
                                    {before[2], before[3], before[4], before[5]}) or 0
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

local taken, given, read = {}, 0, 0
for i = 3, #KEYS do
  if read >= enough then break end
  local stream = KEYS[i]
  local at = 10 + (i - 3) * 4
  local camera, policy, most_age, known = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3]
  if wrong[i] then
    taken[#taken + 1] = {i - 2, 'wrong'}
  elseif not is_countable(camera) then
    taken[#taken + 1] = {i - 2, 'uncounted'}
  else
    for _ = 1, 100 do
      local what, superseded = 'claimed', 0
      local entry, problem = claim(stream, camera)
      if problem then return problem end
      if not entry then
        what = 'new'
        if policy == 'latest' then superseded = redis.call('XTRIM', stream, 'MAXLEN', 1) end
        local entries = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', 1,
                                   'STREAMS', stream, '>')
        entry = entries and entries[1][2][1]
      end
      if not entry then break end
      local id, fields = entry[1], entry[2]
      local time, bytes = count(camera, id, fields, superseded)
      read = read + bytes
      local is_stale = most_age > 0 and now - time > most_age
      if is_stale or bytes > largest then
        redis.call('XACK', stream, group, id)
        redis.call('XDEL', stream, id)
        settle(camera, is_stale and 'stale' or 'failed')
        if read >= enough then break end
      elseif bytes > enough - given then
        taken[#taken + 1] = {i - 2, 'large', id, bytes}
        break
      else
        given = given + bytes
        taken[#taken + 1] = id == known and {i - 2, what, id} or {i - 2, what, id, fields}
        break
      end
    end
  end
end
return taken
