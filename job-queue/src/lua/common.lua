-- Shared by every script that changes a record. KEYS, in this order everywhere:
-- 1 record, 2 runs, 3 runs of the path, 4 running, 5 result, 6 log, 7 arguments, 8 queued, 9 attempts, 10 expiry
local function terminal(state)
  return state == 'success' or state == 'failure' or state == 'canceled'
end

-- Appends to a log of this length; the length it then has, for the record.
local function append_log(at, text, units)
  at = tonumber(at or '0')
  if text == '' then return string.format('%d', at) end
  redis.call('ZADD', KEYS[6], at, string.format('%d', at) .. ':' .. text)
  return string.format('%d', at + tonumber(units))
end

-- Gives all keys of a job their expiry; its rows go with them.
local function keep_for(id, now_us, retention_s)
  for _, key in ipairs({KEYS[1], KEYS[5], KEYS[6], KEYS[7], KEYS[9]}) do redis.call('EXPIRE', key, retention_s) end
  local path = string.sub(KEYS[3], #KEYS[2] + 2)
  redis.call('ZADD', KEYS[10], string.format('%.0f', tonumber(now_us) + tonumber(retention_s) * 1000000), id .. ':' .. path)
end

-- A record that had been given up is one of a job again.
local function keep()
  if redis.call('PTTL', KEYS[1]) < 0 then return end
  for _, key in ipairs({KEYS[1], KEYS[5], KEYS[6], KEYS[7], KEYS[9]}) do redis.call('PERSIST', key) end
end

-- Writes the one terminal record, with more of its fields if given, and gives all keys of the
-- job their expiry.
local function finish(id, state, result, ended_us, retention_s, ...)
  redis.call('HSET', KEYS[1], 'state', state, 'ended_us', ended_us, 'result_len', #result, ...)
  redis.call('SET', KEYS[5], result)
  keep_for(id, ended_us, retention_s)
  redis.call('ZREM', KEYS[4], id)
  redis.call('ZREM', KEYS[8], id)
end

-- What is kept of an attempt that was not the last: a line of its facts and, behind it, its result. Of very many,
-- the latest ones.
local function note_attempt(how, attempt, ended_us, run_us, log_to, result)
  local got = redis.call('HMGET', KEYS[1], 'started_us', 'worker', 'log_at')
  local facts = {how, attempt, got[1] or '0', ended_us, run_us, got[3] or '0', log_to, got[2] or '-'}
  redis.call('RPUSH', KEYS[9], table.concat(facts, ' ') .. '\n' .. result)
  redis.call('LTRIM', KEYS[9], -100, -1)
end

-- Makes a job a row of the listings. An index of a path that nobody trims goes by itself, one day.
local function index(id, created_us, longest_s)
  redis.call('ZADD', KEYS[2], created_us, id)
  redis.call('ZADD', KEYS[3], created_us, id)
  redis.call('EXPIRE', KEYS[3], longest_s, 'NX')
end
