-- The row of a queued job that is nowhere any more: it goes, and its record, if it has one, when its time is over.
-- ARGV: 1 id, 2 now µs, 3 retention s
redis.call('ZREM', KEYS[8], ARGV[1])
if redis.call('HGET', KEYS[1], 'state') == 'queued' and redis.call('PTTL', KEYS[1]) == -1 then
  keep_for(ARGV[1], ARGV[2], ARGV[3])
end
return 1
