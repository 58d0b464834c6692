-- A row for listings; never replaces another state.
-- ARGV: 1 id, 2 envelope, 3 created µs, 4 retention s, 5 due µs
local state = redis.call('HGET', KEYS[1], 'state')
if state and state ~= 'queued' then return 0 end
redis.call('ZADD', KEYS[8], ARGV[5], ARGV[1])
if state then return 0 end
redis.call('HSET', KEYS[1], 'state', 'queued', 'envelope', ARGV[2], 'created_us', ARGV[3])
index(ARGV[1], ARGV[3], ARGV[4])
return 1
