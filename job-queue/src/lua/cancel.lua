-- ARGV: 1 id, 2 by, 3 reason, 4 now µs, 5 envelope of a queued job or '', 6 created µs,
-- 7 result, 8 retention s, 9 its place in the listings, µs, 10 the longest retention, s
local got = redis.call('HMGET', KEYS[1], 'state', 'worker', 'due_us')
if terminal(got[1]) then return {'ended', got[1]} end
if got[1] == 'running' then
  redis.call('HSET', KEYS[1], 'cancel_by', ARGV[2], 'cancel_reason', ARGV[3])
  return {'running', got[2]}
end
if ARGV[5] == '' then return {'absent'} end
redis.call('HSET', KEYS[1], 'envelope', ARGV[5], 'created_us', ARGV[6], 'cancel_by', ARGV[2], 'cancel_reason', ARGV[3])
index(ARGV[1], ARGV[9], ARGV[10])
-- the timer of its next try may be set after this
local ahead = math.max(0, math.ceil((tonumber(got[3] or '0') - tonumber(ARGV[4])) / 1000000))
finish(ARGV[1], 'canceled', ARGV[7], ARGV[4], string.format('%d', tonumber(ARGV[8]) + ahead))
return {'canceled'}
