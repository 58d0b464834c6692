-- ARGV: 1 id, 2 nonce of this call, 3 worker, 4 now µs, 5 envelope, 6 created µs, 7 arguments,
-- 8 attempts at most, 9 first log line, 10 its units, 11 result when exhausted, 12 retention s, 13 isolation,
-- 14 tries that had failed when the message was made, 15 its place in the listings, µs, 16 the longest retention, s
-- Removes rows that nothing can be behind any more, such as those that were written before their expiry was noted. A path's
-- index goes when no job of it has started for so long.
local function trim(now_us, longest_s)
  local oldest = string.format('(%.0f', tonumber(now_us) - tonumber(longest_s) * 1000000)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', oldest)
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', oldest)
  redis.call('EXPIRE', KEYS[3], longest_s)
end

local got = redis.call('HMGET', KEYS[1], 'state', 'nonce', 'attempt', 'log_len', 'cancel_by', 'dead', 'due_us', 'retries', 'base')
-- a record that was lost, or is an older one, knows of fewer than the message
local retries = math.max(tonumber(got[8] or '0'), tonumber(ARGV[14]))
if terminal(got[1]) then
  if got[6] then
    -- whoever found it exhausted may not have come to its dead letter: until then it must not be forgotten, or it
    -- would run anew
    keep_for(ARGV[1], ARGV[4], ARGV[12])
  end
  return {got[6] and 'exhausted' or 'ended', got[1], redis.call('GET', KEYS[5]) or 'null'}
end
-- the same call again after a lost reply: the attempt it has already counted
if got[1] == 'running' and got[2] == ARGV[2] then
  return {'run', got[3], got[4] or '0', got[5] or '', string.format('%d', retries)}
end
-- a message of the try before: whoever failed has not come to setting the timer of the next one, or to removing it
if got[7] and tonumber(ARGV[14]) < retries and tonumber(got[7]) > tonumber(ARGV[4]) and not got[5] then
  return {'later', got[7], string.format('%d', retries)}
end
local attempt = tonumber(got[3] or '0') + 1
if got[1] == 'running' then note_attempt('lost', got[3], ARGV[4], '0', got[4] or '0', '') end
keep()
-- here, because at an end a caller waits; more than one for each that comes, so that none is left behind for long
expire_rows(KEYS[2], KEYS[10], ARGV[4], 5)
trim(ARGV[4], ARGV[16])
index(ARGV[1], ARGV[15], ARGV[16])
if ARGV[7] ~= '' then redis.call('SET', KEYS[7], ARGV[7]) end
-- one that somebody has asked the end of is cancelled by its worker, who does not run it
if attempt - tonumber(got[9] or '0') > tonumber(ARGV[8]) and not got[5] then
  finish(ARGV[1], 'failure', ARGV[11], ARGV[4], ARGV[12],
    'attempt', attempt - 1, 'envelope', ARGV[5], 'created_us', ARGV[6], 'dead', '1')
  return {'exhausted', 'failure', ARGV[11]}
end
local log_len = append_log(got[4], ARGV[9], ARGV[10])
redis.call('HSET', KEYS[1], 'state', 'running', 'nonce', ARGV[2], 'worker', ARGV[3], 'isolation', ARGV[13], 'started_us', ARGV[4],
  'attempt', attempt, 'envelope', ARGV[5], 'created_us', ARGV[6], 'log_len', log_len, 'log_at', got[4] or '0', 'retries', string.format('%d', retries))
redis.call('HDEL', KEYS[1], 'due_us')
redis.call('ZADD', KEYS[4], ARGV[4], ARGV[1])
redis.call('ZREM', KEYS[8], ARGV[1])
return {'run', attempt, log_len, got[5] or '', string.format('%d', retries)}
