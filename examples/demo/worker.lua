-- One of several worker processes that want the same lock. Part of script/demo.
local dsync = require "dsync"

local name, turns = arg[1], tonumber(arg[2])
io.stdout:setvbuf "line"

local d = assert(dsync.open(nil, { prefix = os.getenv "DEMO_PREFIX", id = name, ttl = 3 }))
local lock = d:lock "nightly-report"
for _ = 1, turns do
  assert(lock:acquire { wait = 20 })
  print(("  %s  holds the lock, token %s"):format(name, lock:token_string()))
  dsync.sleep(0.15) -- the work
  assert(lock:held())
  assert(lock:release())
end
d:close()
