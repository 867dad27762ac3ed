#!lua flags=no-writes
-- How many frames wait in each stream. KEYS: streams. Returns a number for each; -1 for a key that
-- is no stream.
local waiting = {}
for i = 1, #KEYS do
  local length = redis.pcall('XLEN', KEYS[i])
  waiting[i] = type(length) == 'number' and length or -1
end
return waiting
