-- A start that led to nothing, taken back: its attempt is not spent, unless its workers were at fault a hundred times.
-- ARGV: 1 id, 2 attempt, 3 nonce, 4 due µs, 5 '1': its worker was at fault
local got = redis.call('HMGET', KEYS[1], 'state', 'attempt', 'nonce', 'undone')
-- the same call again after a lost reply
if got[1] == 'queued' and got[4] == ARGV[3] then return 1 end
if got[1] ~= 'running' or got[2] ~= ARGV[2] or got[3] ~= ARGV[3] then return 0 end
local spent = ARGV[5] == '1' and redis.call('HINCRBY', KEYS[1], 'faults', 1) >= 100
redis.call('HSET', KEYS[1], 'state', 'queued', 'attempt', tonumber(ARGV[2]) - (spent and 0 or 1), 'undone', ARGV[3])
redis.call('HDEL', KEYS[1], 'nonce', 'worker', 'started_us')
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('ZADD', KEYS[8], ARGV[4], ARGV[1])
return 1
