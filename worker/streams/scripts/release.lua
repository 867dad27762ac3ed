#!lua flags=allow-oom
-- Gives the lease of its holder back. KEYS: lease. ARGV: token. Returns 1, or 0 when it was lost.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1
