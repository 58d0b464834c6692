-- ARGV: 1 id, 2 attempt, 3 now µs, 4 state, 5 result, 6 run µs, 7 memory KiB, 8 retention s,
-- 9 last log text, 10 its units, 11 how its process came to it, or nothing
local got = redis.call('HMGET', KEYS[1], 'state', 'attempt', 'log_len')
if terminal(got[1]) then
  local kept = redis.call('GET', KEYS[5]) or 'null'
  -- the same call again after a lost reply; another end of the same attempt lost to this one
  if got[2] == ARGV[2] and got[1] == ARGV[4] and kept == ARGV[5] then return {'written'} end
  return {'ended', got[1], kept}
end
if got[1] ~= 'running' or got[2] ~= ARGV[2] then return {'fenced'} end
local log_len = append_log(got[3], ARGV[9], ARGV[10])
finish(ARGV[1], ARGV[4], ARGV[5], ARGV[3], ARGV[8], 'run_us', ARGV[6], 'mem_kib', ARGV[7], 'process', ARGV[11], 'log_len', log_len)
return {'written'}
