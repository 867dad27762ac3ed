#!lua flags=allow-oom
-- Publishes answers of one shard: each once, however often it is tried, as the frame's delivery ends
-- with it.
--
-- KEYS: lease, ledger, results, then the stream of each answer's camera.
-- ARGV: token, group, most entries of the results;
--       then of each answer: camera, id of the frame, and the seq, status, json, captured, read and
--       answered of the result.
-- Returns for each answer 1, or 0 when the frame has been answered or dropped before.
local lease, ledger, results = KEYS[1], KEYS[2], KEYS[3]
local token, group, most = ARGV[1], ARGV[2], ARGV[3]
if redis.call('GET', lease) ~= token then
  return redis.error_reply('LOST the lease ' .. lease .. ' is not ours')
end
for i = 2, #KEYS do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'none' and kind ~= (i == 2 and 'hash' or 'stream') then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. kind)
  end
end
local done = {}
for i = 4, #KEYS do
  local stream, at = KEYS[i], 4 + (i - 4) * 8
  local camera, id = ARGV[at], ARGV[at + 1]
  done[i - 3] = redis.call('XACK', stream, group, id)
  if done[i - 3] == 1 then
    redis.call('XADD', results, 'MAXLEN', '~', most, '*', 'camera', camera, 'frame', id,
               'seq', ARGV[at + 2], 'status', ARGV[at + 3], 'json', ARGV[at + 4],
               'captured', ARGV[at + 5], 'read', ARGV[at + 6], 'answered', ARGV[at + 7])
    redis.call('XDEL', stream, id)
    if redis.call('HGET', ledger, camera .. ':at') == id then
      redis.call('HINCRBY', ledger, camera .. ':published', 1)
      redis.call('HSET', ledger, camera .. ':at', '', camera .. ':pending', 0)
    end
  end
end
return done
