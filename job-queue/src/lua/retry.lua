-- A try that failed and is followed by another one, later. ARGV: 1 id, 2 attempt, 3 now µs, 4 the first of its result,
-- 5 run µs, 6 last log text, 7 its units, 8 when the next one is due, µs
local got = redis.call('HMGET', KEYS[1], 'state', 'attempt', 'log_len', 'cancel_by', 'due_us', 'retries', 'cancel_reason')
if terminal(got[1]) then return {'ended', got[1], redis.call('GET', KEYS[5]) or 'null'} end
-- the same call again after a lost reply
if got[1] == 'queued' and got[2] == ARGV[2] and got[5] then return {'later', got[5], got[6]} end
if got[1] ~= 'running' or got[2] ~= ARGV[2] then return {'fenced'} end
-- somebody has asked for its end: there is no next one
if got[4] then return {'canceled', got[4], got[7] or ''} end
local log_len = append_log(got[3], ARGV[6], ARGV[7])
-- each try may write as much as one job, a job not as much for each of its tries: the oldest text goes
redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', '(' .. string.format('%d', tonumber(log_len) - 4194304))
note_attempt('failure', ARGV[2], ARGV[3], ARGV[5], log_len, ARGV[4])
-- workers that are lost are counted for each try anew
redis.call('HSET', KEYS[1], 'state', 'queued', 'log_len', log_len, 'due_us', ARGV[8], 'base', ARGV[2])
redis.call('HDEL', KEYS[1], 'nonce', 'worker', 'started_us')
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('ZADD', KEYS[8], ARGV[8], ARGV[1])
return {'later', ARGV[8], redis.call('HINCRBY', KEYS[1], 'retries', 1)}
