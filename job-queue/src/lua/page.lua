-- One page of an index, newest first. KEYS: 1 index.
-- ARGV: 1 score of the cursor or '', 2 id of the cursor, 3 rows to skip, 4 rows at most
local from = tonumber(ARGV[3])
local to = from + tonumber(ARGV[4]) - 1
if ARGV[1] == '' then return redis.call('ZREVRANGE', KEYS[1], from, to, 'WITHSCORES') end
local rank = redis.call('ZREVRANK', KEYS[1], ARGV[2])
if rank then return redis.call('ZREVRANGE', KEYS[1], rank + 1 + from, rank + 1 + to, 'WITHSCORES') end
return redis.call('ZREVRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '-inf', 'WITHSCORES', 'LIMIT', from, ARGV[4])
