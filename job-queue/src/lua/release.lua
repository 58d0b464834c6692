-- Takes a reservation back whose job was refused, unless somebody else knows of it. KEYS: 1 key. ARGV: 1 id
local got = redis.call('HMGET', KEYS[1], 'id', 'known')
if got[1] ~= ARGV[1] or got[2] then return 0 end
return redis.call('DEL', KEYS[1])
