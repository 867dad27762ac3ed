#!lua flags=allow-oom
-- Notes that a frame was in the hands of a thread that crashed.
-- KEYS: lease, ledger. ARGV: token, camera, id of the frame, the crashes that the caller knows of, a
-- word for each. Returns how many there were that anybody knew of.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('LOST the lease ' .. KEYS[1] .. ' is not ours')
end
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'hash' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is a ' .. kind)
end
local blamed, crashes = ARGV[2] .. ':blamed', ARGV[2] .. ':crashes'
local before = redis.call('HMGET', KEYS[2], blamed, crashes)
local words, seen = {}, {}
for word in ((before[1] == ARGV[3] and before[2] or '') .. ' ' .. ARGV[4]):gmatch('%S+') do
  if not seen[word] then words[#words + 1] = word end
  seen[word] = true
end
redis.call('HSET', KEYS[2], blamed, ARGV[3], crashes, table.concat(words, ' '))
return #words
