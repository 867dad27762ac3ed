#!lua flags=allow-oom
-- Gives a frame up, for a reason that the ledger counts, and on wish keeps it among the dead letters.
--
-- KEYS: lease, ledger, dead letters, the camera's stream.
-- ARGV: token, group, camera, id of the frame, reason (stale, overwritten, failed), the text of the
--       dead letter ('': none), most dead letters, most bytes of one, most bytes of all.
-- Returns 1, or 0 when the frame has been answered or dropped before.
--
-- The letter is stored before the frame's delivery ends: what fails in between is tried again.
local lease, ledger, dead, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local token, group, camera, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local reason, text, most = ARGV[5], ARGV[6], ARGV[7]
local most_of_one, most_of_all = tonumber(ARGV[8]), tonumber(ARGV[9])
if redis.call('GET', lease) ~= token then
  return redis.error_reply('LOST the lease ' .. lease .. ' is not ours')
end
for i = 2, #KEYS do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'none' and kind ~= (i == 2 and 'hash' or 'stream') then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. kind)
  end
end
-- A group that is gone has nothing pending.
if #redis.pcall('XPENDING', stream, group, id, id, 1) == 0 then return 0 end

-- The fields of a dead letter: at most 1,000 (unpack knows no more than some 4,000 at once), and
-- none that would make it too large. The reason says what is missing.
local function letter()
  local entry = redis.call('XRANGE', stream, id, id)[1]
  local fields = entry and entry[2] or {}
  local kept, bytes, missing, missing_bytes = {}, 0, 0, 0
  for i = 1, #fields, 2 do
    local size = #fields[i] + #fields[i + 1]
    if #kept < 2000 and bytes + size <= most_of_one then
      kept[#kept + 1], kept[#kept + 2] = fields[i], fields[i + 1]
      bytes = bytes + size
    else
      missing, missing_bytes = missing + 1, missing_bytes + size
    end
  end
  if missing == 0 then return text, kept end
  return string.format('%s (fields left out: %d, of %d bytes)', text, missing, missing_bytes), kept
end

if text ~= '' then
  local why, fields = letter()
  redis.call('XADD', dead, 'MAXLEN', most, '*', 'camera', camera, 'frame', id, 'reason', why,
             unpack(fields))
  -- A user of Redis who may not ask for it has the bound of one letter alone.
  for _ = 2, redis.call('XLEN', dead) do
    local bytes = redis.pcall('MEMORY', 'USAGE', dead, 'SAMPLES', 0)
    if type(bytes) ~= 'number' or bytes <= most_of_all then break end
    redis.call('XTRIM', dead, 'MAXLEN', redis.call('XLEN', dead) - 1)
  end
end
redis.call('XACK', stream, group, id)
redis.call('XDEL', stream, id)
if redis.call('HGET', ledger, camera .. ':at') == id then
  redis.call('HINCRBY', ledger, camera .. ':' .. reason, 1)
  redis.call('HSET', ledger, camera .. ':at', '', camera .. ':pending', 0)
end
return 1
