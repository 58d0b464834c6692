-- Counts the end of a schedule's job, once, and decides what its handlers are to hear of it.
-- KEYS: 1 record of the job, 2 tally of the schedule, 3 its latest ends
-- ARGV: 1 id, 2 which life of the schedule, 3 failures in a row until it is down, 4 '1': on_failure at just so many,
-- 5 successes in a row until it is up again, 6 seconds the tally is kept, 7 ends kept
local got = redis.call('HMGET', KEYS[1], 'state', 'counted', 'started_us', 'ended_us')
local state = got[1]
if state ~= 'success' and state ~= 'failure' and state ~= 'canceled' then return {'open'} end
-- whoever comes again is told the same
if got[2] then return {'counted', got[2]} end
-- what is left of a schedule that was deleted does not count for its namesake
if redis.call('HGET', KEYS[2], 'life') ~= ARGV[2] then
  redis.call('DEL', KEYS[2], KEYS[3])
  redis.call('HSET', KEYS[2], 'life', ARGV[2])
end
local counted
if state == 'success' then
  redis.call('HSET', KEYS[2], 'failures', '0')
  local times = redis.call('HINCRBY', KEYS[2], 'successes', 1)
  local tally = redis.call('HMGET', KEYS[2], 'down', 'failed')
  local up = tally[1] == '1' and times >= tonumber(ARGV[5])
  if up then redis.call('HDEL', KEYS[2], 'down') end
  counted = string.format('success %d %s %s', times, up and '1' or '0', tally[2] or '-')
else
  redis.call('HSET', KEYS[2], 'successes', '0', 'failed', ARGV[1])
  local times, enough = redis.call('HINCRBY', KEYS[2], 'failures', 1), tonumber(ARGV[3])
  if times >= enough then redis.call('HSET', KEYS[2], 'down', '1') end
  local due = times == enough or (times > enough and ARGV[4] ~= '1')
  counted = string.format('failure %d %s -', times, due and '1' or '0')
end
redis.call('HSET', KEYS[1], 'counted', counted)
local ended = tonumber(got[4] or '0')
local took_ms = math.floor((ended - tonumber(got[3] or ended)) / 1000)
redis.call('LPUSH', KEYS[3], string.format('%s %s %d', ARGV[1], state, took_ms))
redis.call('LTRIM', KEYS[3], 0, tonumber(ARGV[7]) - 1)
redis.call('EXPIRE', KEYS[2], ARGV[6])
redis.call('EXPIRE', KEYS[3], ARGV[6])
return {'counted', counted}
