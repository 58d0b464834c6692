-- ARGV: 1 id, 2 nonce of this call, 3 worker, 4 now µs, 5 envelope, 6 created µs, 7 arguments,
-- 8 attempts at most, 9 first log line, 10 its units, 11 result when exhausted, 12 retention s
local state = redis.call('HGET', KEYS[1], 'state')
if terminal(state) then
  return {'ended', state, redis.call('GET', KEYS[5]) or 'null'}
end
-- the same call again after a lost reply: the attempt it has already counted
if state == 'running' and redis.call('HGET', KEYS[1], 'nonce') == ARGV[2] then
  return {'run', redis.call('HGET', KEYS[1], 'attempt'), redis.call('HGET', KEYS[1], 'log_len') or '0'}
end
local attempt = redis.call('HINCRBY', KEYS[1], 'attempt', 1)
redis.call('HSET', KEYS[1], 'envelope', ARGV[5], 'created_us', ARGV[6])
index(ARGV[1], ARGV[6])
if ARGV[7] ~= '' then redis.call('SET', KEYS[7], ARGV[7]) end
if attempt > tonumber(ARGV[8]) then
  redis.call('HSET', KEYS[1], 'attempt', ARGV[8])
  finish(ARGV[1], 'failure', ARGV[11], ARGV[4], ARGV[12])
  return {'exhausted', ARGV[8]}
end
redis.call('HSET', KEYS[1], 'state', 'running', 'nonce', ARGV[2], 'worker', ARGV[3], 'started_us', ARGV[4])
redis.call('ZADD', KEYS[4], ARGV[4], ARGV[1])
append_log(ARGV[9], ARGV[10])
return {'run', attempt, redis.call('HGET', KEYS[1], 'log_len') or '0'}
