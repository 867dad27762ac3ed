#!lua flags=allow-oom
-- Takes the lease of a shard that nobody has.
-- KEYS: lease. ARGV: token, milliseconds. Returns 1, or 0 when somebody has it.
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return 0
