-- KEYS: 1 runs, 2 expiry. ARGV: 1 now µs, 2 rows at most
return expire_rows(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
