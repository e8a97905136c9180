-- cycles.lua URL N [TRANSPORT]: uncontended acquire and release of one lock, one after the other, N times. Prints the
-- rate. TRANSPORT is etcd's: grpc or json.
local dsync = require "dsync"

local url, count = arg[1] or "memory:", tonumber(arg[2] or 10000)
local d = assert(dsync.open(url, { etcd = arg[3] and { transport = arg[3] } }))
local lock = d:lock "bench"
assert(lock:acquire())
assert(lock:release())
local began = d._adapter.now()
for _ = 1, count do
  assert(lock:acquire())
  assert(lock:release())
end
print(("%.0f cycles/s"):format(count / (d._adapter.now() - began)))
d:close()
