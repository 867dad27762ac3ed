#!lua flags=allow-oom
-- Notes that a frame was in the hands of a thread that crashed.
-- KEYS: lease, ledger. ARGV: token, camera, id of the frame, how often that was as far as the caller
-- knows. Returns how often it was as far as anybody knew.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('LOST the lease ' .. KEYS[1] .. ' is not ours')
end
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'hash' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is a ' .. kind)
end
local blamed, crashes = ARGV[2] .. ':blamed', ARGV[2] .. ':crashes'
if redis.call('HGET', KEYS[2], blamed) ~= ARGV[3] then
  redis.call('HSET', KEYS[2], blamed, ARGV[3], crashes, 0)
end
local most = math.max(tonumber(redis.call('HGET', KEYS[2], crashes)), tonumber(ARGV[4]))
redis.call('HSET', KEYS[2], crashes, most)
return most
