-- One page of an index, oldest first or newest first. KEYS: 1 index.
-- ARGV: 1 score of the cursor or '', 2 id of the cursor, 3 rows to skip, 4 rows at most, 5 'newest' or 'oldest'
local newest = ARGV[5] == 'newest'

-- How many entries stand before the cursor in an index that has lost it: rows of one score are ordered by id.
local function before(score, id)
  local low = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. score)
  local high = redis.call('ZCOUNT', KEYS[1], '-inf', score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if redis.call('ZRANGE', KEYS[1], middle, middle)[1] < id then low = middle + 1 else high = middle end
  end
  return low
end

-- The rank, in the order asked for, of the first entry behind the cursor.
local function behind(score, id)
  if score == '' then return 0 end
  -- one that has moved since is not where the page before ended
  if tonumber(redis.call('ZSCORE', KEYS[1], id) or 'nan') == tonumber(score) then
    return redis.call(newest and 'ZREVRANK' or 'ZRANK', KEYS[1], id) + 1
  end
  local older = before(score, id)
  return newest and redis.call('ZCARD', KEYS[1]) - older or older
end

local from = behind(ARGV[1], ARGV[2]) + tonumber(ARGV[3])
local to = from + tonumber(ARGV[4]) - 1
return redis.call(newest and 'ZREVRANGE' or 'ZRANGE', KEYS[1], from, to, 'WITHSCORES')
