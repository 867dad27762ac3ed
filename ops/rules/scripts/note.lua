#!lua flags=allow-oom
-- Notes the events of one answer, and that the answer was looked at: both or neither, and once,
-- however often it is tried.
--
-- KEYS: owner, results, events, then for each rule that the answer has met, when it last did.
-- ARGV: token, group, id of the answer's entry, its time (Unix ms);
--       then of each rule: its name, for how long it holds off (ms), the event's own id, the event.
-- Returns for each rule the id of the event's entry, or '' when the rule holds off; nothing at all
-- when the answer was looked at before.
--
-- A rule holds off by the times of answers, not of this moment: what is looked at late is told of as
-- it would have been in time. The time that is kept outlives the hold-off by a day. What is no text
-- in its place says nothing, and makes room.
local owner, results, events = KEYS[1], KEYS[2], KEYS[3]
local token, group, id, at = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.pcall('GET', owner) ~= token then
  return redis.error_reply('LOST the rules are somebody else\'s by now')
end
for i = 2, 3 do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'none' and kind ~= 'stream' then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. kind)
  end
end
if redis.call('XACK', results, group, id) == 0 then return {} end
local noted = {}
for i = 4, #KEYS do
  local first = 5 + (i - 4) * 4
  local rule, hold_off = ARGV[first], tonumber(ARGV[first + 1])
  local held = redis.pcall('GET', KEYS[i])
  local last = type(held) == 'string' and tonumber(held)
  if hold_off > 0 and last and at >= last and at - last < hold_off then
    noted[i - 3] = ''
  else
    if hold_off > 0 then
      redis.call('SET', KEYS[i], ARGV[4], 'PX', string.format('%d', hold_off + 86400000))
    end
    noted[i - 3] = redis.call('XADD', events, '*', 'rule', rule, 'at', ARGV[4],
                              'id', ARGV[first + 2], 'event', ARGV[first + 3])
  end
end
return noted
