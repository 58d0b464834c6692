-- ARGV: 1 attempt, 2 offset the writer expects, 3 text, 4 its units
local got = redis.call('HMGET', KEYS[1], 'state', 'attempt', 'log_len')
if got[1] ~= 'running' or got[2] ~= ARGV[1] then return 'fenced' end
-- a call repeated after a lost reply finds the log grown by its own text already
local at = tonumber(got[3] or '0')
if ARGV[2] ~= '' and at ~= tonumber(ARGV[2]) then return string.format('%d', at) end
local log_len = append_log(at, ARGV[3], ARGV[4])
redis.call('HSET', KEYS[1], 'log_len', log_len)
return log_len
