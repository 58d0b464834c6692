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
  for _, key in ipairs({KEYS[1], KEYS[6], KEYS[7], KEYS[3]}) do
    redis.call('EXPIRE', key, retention_s)
  end
  redis.call('ZREM', KEYS[4], id)
  local oldest = string.format('(%.0f', tonumber(ended_us) - tonumber(retention_s) * 1000000)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', oldest)
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', oldest)
end

local function index(id, created_us)
  redis.call('ZADD', KEYS[2], created_us, id)
  redis.call('ZADD', KEYS[3], created_us, id)
  -- an earlier job's end may have given the path's index an expiry this one would outlive
  redis.call('PERSIST', KEYS[3])
end
