-- Removes rows of the listings whose record has expired, at most so many. Keys: the indexes and records of one workspace,
-- by what `expiry` names. Shared with the start script.
local function expire_rows(runs, expiry, now_us, most)
  local prefix = string.sub(runs, 1, #runs - 4)
  local due = redis.call('ZRANGEBYSCORE', expiry, '-inf', now_us, 'LIMIT', 0, most)
  for _, member in ipairs(due) do
    local id, path = string.match(member, '^([^:]*):(.*)$')
    local left = id and redis.call('PTTL', prefix .. 'job:' .. id) or -2
    if left > 0 then
      -- clocks differ, or it was given more time
      redis.call('ZADD', expiry, string.format('%.0f', tonumber(now_us) + left * 1000), member)
    else
      redis.call('ZREM', expiry, member)
      -- without an expiry it is a job again
      if left == -2 and id then
        redis.call('ZREM', runs, id)
        redis.call('ZREM', runs .. ':' .. path, id)
      end
    end
  end
  return #due
end
