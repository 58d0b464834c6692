-- ARGV: 1 id, 2 nonce of this call, 3 worker, 4 now µs, 5 envelope, 6 created µs, 7 arguments,
-- 8 attempts at most, 9 first log line, 10 its units, 11 result when exhausted, 12 retention s, 13 isolation,
-- 14 tries that had failed when the message was made, 15 its place in the listings, µs, 16 the longest retention, s,
-- 17 the message's sequence in its stream, 18 which delivery of it this is
-- So long, in µs, an attempt stands for a later delivery than any that counts less: a server that has lost its counts begins
-- at 1 again.
local COUNTED = 60000000
-- Removes rows that nothing can be behind any more, such as those that were written before their expiry was noted: some
-- at each start, more than one. A path's index goes when no job of it has started for so long.
local function trim(now_us, longest_s)
  local oldest = string.format('(%.0f', tonumber(now_us) - tonumber(longest_s) * 1000000)
  for _, rows in ipairs({KEYS[2], KEYS[3]}) do
    local old = redis.call('ZRANGEBYSCORE', rows, '-inf', oldest, 'LIMIT', 0, 20)
    if #old > 0 then redis.call('ZREM', rows, unpack(old)) end
  end
  redis.call('EXPIRE', KEYS[3], longest_s)
end

local got = redis.call('HMGET', KEYS[1], 'state', 'nonce', 'attempt', 'log_len', 'cancel_by', 'dead', 'due_us', 'retries', 'base',
  'delivery', 'started_us')
-- a record that was lost, or is an older one, knows of fewer than the message
local retries = math.max(tonumber(got[8] or '0'), tonumber(ARGV[14]))
if terminal(got[1]) then
  -- whoever ended it may not have come to all that follows from it: for as long as its message comes it must not be
  -- forgotten, or it would run anew
  if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[12]) * 1000 then keep_for(ARGV[1], ARGV[4], ARGV[12]) end
  return {got[6] and 'exhausted' or 'ended', got[1], redis.call('GET', KEYS[5]) or 'null'}
end
-- the same call again after a lost reply: the attempt it has already counted
if got[1] == 'running' and got[2] == ARGV[2] then
  return {'run', got[3], got[4] or '0', got[5] or '', string.format('%d', retries)}
end
-- a delivery that came late, when the same message has gone to somebody else: he was not lost
local sequence, count = string.match(got[10] or '', '^(%d+):(%d+)$')
if got[1] == 'running' and sequence == ARGV[17] and tonumber(ARGV[18]) < tonumber(count)
  and tonumber(ARGV[4]) - tonumber(got[11] or '0') < COUNTED then
  return {'late'}
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
  'attempt', attempt, 'envelope', ARGV[5], 'created_us', ARGV[6], 'log_len', log_len, 'log_at', got[4] or '0', 'retries', string.format('%d', retries),
  'delivery', ARGV[17] .. ':' .. ARGV[18])
redis.call('HDEL', KEYS[1], 'due_us', 'undone')
redis.call('ZADD', KEYS[4], ARGV[4], ARGV[1])
redis.call('ZREM', KEYS[8], ARGV[1])
return {'run', attempt, log_len, got[5] or '', string.format('%d', retries)}
