#!lua flags=no-writes
-- How many entries each stream has, and the time of its first one. KEYS: streams. Returns two numbers
-- for each: entries, and Unix ms (0: there is none). A key that is no stream has none.
local found = {}
for i = 1, #KEYS do
  local length = redis.pcall('XLEN', KEYS[i])
  if type(length) ~= 'number' then length = 0 end
  local time = 0
  if length > 0 then
    local first = redis.call('XRANGE', KEYS[i], '-', '+', 'COUNT', 1)[1]
    time = tonumber(first[1]:match('^%d+'))
  end
  found[2 * i - 1], found[2 * i] = length, time
end
return found
