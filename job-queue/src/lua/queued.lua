-- A row for listings; never replaces another state. ARGV: 1 id, 2 envelope, 3 created µs, 4 retention s
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'state', 'queued', 'envelope', ARGV[2], 'created_us', ARGV[3])
index(ARGV[1], ARGV[3], ARGV[4])
return 1
