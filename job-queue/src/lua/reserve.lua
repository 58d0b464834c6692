-- A key and the job it stands for: whoever comes first decides. KEYS: 1 key.
-- ARGV: 1 id, 2 digest of the request, 3 seconds it is remembered
local got = redis.call('HMGET', KEYS[1], 'id', 'request')
if got[1] then
  -- whoever knows of it may have published its job
  if got[1] ~= ARGV[1] and got[2] == ARGV[2] then redis.call('HSET', KEYS[1], 'known', '1') end
  return got
end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'request', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {ARGV[1], ARGV[2]}
