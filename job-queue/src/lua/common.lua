-- Shared by every script that changes a record. KEYS, in this order everywhere:
-- 1 record, 2 runs, 3 runs of the path, 4 running, 5 result, 6 log, 7 arguments
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

-- Writes the one terminal record, with more of its fields if given, and gives all keys of the
-- job their expiry.
local function finish(id, state, result, ended_us, retention_s, ...)
  redis.call('HSET', KEYS[1], 'state', state, 'ended_us', ended_us, 'result_len', #result, ...)
  redis.call('SET', KEYS[5], result, 'EX', retention_s)
  redis.call('EXPIRE', KEYS[1], retention_s)
  redis.call('EXPIRE', KEYS[6], retention_s)
  redis.call('EXPIRE', KEYS[7], retention_s)
  redis.call('ZREM', KEYS[4], id)
end

-- Removes the rows of the listings that are older by the retention, and adds a job's: here, because
-- a caller waits for an end, and for nothing but the token at a start. A path's index goes when nothing
-- was added to it for so long.
local function index(id, created_us, now_us, retention_s)
  local oldest = string.format('(%.0f', tonumber(now_us) - tonumber(retention_s) * 1000000)
  for _, key in ipairs({KEYS[2], KEYS[3]}) do
    redis.call('ZREMRANGEBYSCORE', key, '-inf', oldest)
    redis.call('ZADD', key, created_us, id)
  end
  redis.call('EXPIRE', KEYS[3], retention_s)
end
