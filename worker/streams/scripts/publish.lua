#!lua flags=allow-oom
-- Publishes answers of one shard: each once, however often it is tried, as the frame's delivery ends
-- with it.
--
-- KEYS: lease, ledger, results, losses, then the stream of each answer's camera.
-- ARGV: token, group, most entries of the results;
--       then of each answer: camera, id of the frame, and the seq, status, json, captured, read and
--       answered of the result. With an empty json it counts as published, and is not stored.
-- Returns for each answer 1, or 0 when the frame has been answered or dropped before.
--
-- An answer is stored before the frame's delivery ends: what fails in between is tried again.
--
-- The results are trimmed here, a hundred or more at a time. What consumer groups had not read or
-- not acknowledged of that is lost to them, and counted in the losses: a hash of `all`, which never
-- falls, and `group:NAME` of each group that there is.
local lease, ledger, results, losses = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local token, group, most = ARGV[1], ARGV[2], ARGV[3]
if redis.call('GET', lease) ~= token then
  return redis.error_reply('LOST the lease ' .. lease .. ' is not ours')
end
for i = 2, #KEYS do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'none' and kind ~= ((i == 2 or i == 4) and 'hash' or 'stream') then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. kind)
  end
end

-- How many entries from one id to another a group was never given, or has not acknowledged.
local function lost(name, delivered, first, last, count)
  -- An error, as of a group at the greatest id that there is, counts as none.
  return #redis.pcall('XRANGE', results, '(' .. delivered, last, 'COUNT', count) +
         #redis.pcall('XPENDING', results, name, first, last, count)
end

local function trim(count)
  local groups = redis.call('XINFO', 'GROUPS', results)
  if #groups > 0 then
    local entries = redis.call('XRANGE', results, '-', '+', 'COUNT', count)
    local first, last = entries[1][1], entries[#entries][1]
    local known = {all = true}
    for _, fields in ipairs(groups) do
      local of = {}
      for i = 1, #fields, 2 do of[fields[i]] = fields[i + 1] end
      local amount = lost(of.name, of['last-delivered-id'], first, last, count)
      known['group:' .. of.name] = true
      if amount > 0 then
        redis.call('HINCRBY', losses, 'all', amount)
        redis.call('HINCRBY', losses, 'group:' .. of.name, amount)
      end
    end
    for _, field in ipairs(redis.call('HKEYS', losses)) do
      if not known[field] then redis.call('HDEL', losses, field) end
    end
  end
  redis.call('XTRIM', results, 'MAXLEN', redis.call('XLEN', results) - count)
end

local done = {}
for i = 5, #KEYS do
  local stream, at = KEYS[i], 4 + (i - 5) * 8
  local camera, id = ARGV[at], ARGV[at + 1]
  -- A group that is gone has nothing pending.
  done[i - 4] = #redis.pcall('XPENDING', stream, group, id, id, 1)
  if done[i - 4] == 1 then
    if ARGV[at + 4] ~= '' then
      redis.call('XADD', results, '*', 'camera', camera, 'frame', id, 'seq', ARGV[at + 2],
                 'status', ARGV[at + 3], 'json', ARGV[at + 4], 'captured', ARGV[at + 5],
                 'read', ARGV[at + 6], 'answered', ARGV[at + 7])
    end
    redis.call('XACK', stream, group, id)
    redis.call('XDEL', stream, id)
    if redis.call('HGET', ledger, camera .. ':at') == id then
      redis.call('HINCRBY', ledger, camera .. ':published', 1)
      redis.call('HSET', ledger, camera .. ':at', '', camera .. ':pending', 0)
    end
  end
end
-- A bounded part at a time, as the bound may have been lowered.
local excess = redis.call('XLEN', results) - tonumber(most)
if excess >= 100 then trim(math.min(excess, 1000)) end
return done
