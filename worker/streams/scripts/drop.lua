#!lua flags=allow-oom
-- Gives a frame up, for a reason that the ledger counts, and on wish keeps it among the dead letters.
--
-- KEYS: lease, ledger, dead letters, the camera's stream.
-- ARGV: token, group, camera, id of the frame, reason (stale, overwritten, failed), the text of the
--       dead letter ('': none), most dead letters.
-- Returns 1, or 0 when the frame has been answered or dropped before.
local lease, ledger, dead, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local token, group, camera, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local reason, text, most = ARGV[5], ARGV[6], ARGV[7]
if redis.call('GET', lease) ~= token then
  return redis.error_reply('LOST the lease ' .. lease .. ' is not ours')
end
for i = 2, #KEYS do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'none' and kind ~= (i == 2 and 'hash' or 'stream') then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. kind)
  end
end
if redis.call('XACK', stream, group, id) == 0 then return 0 end
if text ~= '' then
  local entry = redis.call('XRANGE', stream, id, id)[1]
  redis.call('XADD', dead, 'MAXLEN', most, '*', 'camera', camera, 'frame', id, 'reason', text,
             unpack(entry and entry[2] or {}))
end
redis.call('XDEL', stream, id)
if redis.call('HGET', ledger, camera .. ':at') == id then
  redis.call('HINCRBY', ledger, camera .. ':' .. reason, 1)
  redis.call('HSET', ledger, camera .. ':at', '', camera .. ':pending', 0)
end
return 1
