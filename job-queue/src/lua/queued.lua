-- A row for listings; never replaces another state.
-- ARGV: 1 id, 2 envelope, 3 created µs, 4 the longest retention, s, 5 due µs, 6 '1' where it is due at another time than before
local state = redis.call('HGET', KEYS[1], 'state')
if state and state ~= 'queued' then return 0 end
if state then keep() end
if ARGV[6] == '1' then
  redis.call('ZADD', KEYS[8], ARGV[5], ARGV[1])
  redis.call('HSET', KEYS[1], 'envelope', ARGV[2])
  redis.call('HDEL', KEYS[1], 'due_us')
else
  -- one that is late does not take the place of another try's
  redis.call('ZADD', KEYS[8], 'NX', ARGV[5], ARGV[1])
end
if state then return 0 end
redis.call('HSET', KEYS[1], 'state', 'queued', 'envelope', ARGV[2], 'created_us', ARGV[3])
index(ARGV[1], ARGV[3], ARGV[4])
return 1
