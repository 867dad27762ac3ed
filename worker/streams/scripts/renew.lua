#!lua flags=allow-oom
-- Prolongs the lease of its holder. KEYS: lease. ARGV: token, milliseconds. Returns 1, or 0 when it
-- is lost.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
