#!lua flags=allow-oom
-- Makes the caller, who has the lease of the rules, the one whose notes are taken in this shard, and
-- makes the consumer group when it is missing.
-- KEYS: owner, results. ARGV: token, group, the id of the entry after which a new group begins.
-- Returns 1 when the group was made, else 0.
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'stream' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is a ' .. kind)
end
redis.call('SET', KEYS[1], ARGV[1])
local made = redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[2], ARGV[3], 'MKSTREAM')
return made.err and 0 or 1
