-- A key and the job it stands for: whoever comes first decides. KEYS: 1 key.
-- ARGV: 1 id, 2 digest of the request, 3 seconds it is remembered
local got = redis.call('HMGET', KEYS[1], 'id', 'request')
if got[1] then return got end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'request', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {ARGV[1], ARGV[2]}
