-- Holds a lock and says what it is told about it. Part of script/demo, which stops this process for a while.
local dsync = require "dsync"

local name = arg[1]
io.stdout:setvbuf "line"

local d = assert(dsync.open(nil, { prefix = os.getenv "DEMO_PREFIX", id = name, ttl = 3 }))
local lock = assert(d:lock("invoices"):acquire { wait = 30 })
print(("  %s  holds the lock, token %s"):format(name, lock:token_string()))

local told = false
lock:on_revoked(function(_, reason)
  told = true
  print(("  %s  is told that it lost the lock: %s; its token %s is too old for a store that checks tokens"):format(name,
    reason, lock:token_string()))
end)

local held = lock:held()
while not told do
  if held and not lock:held() then
    held = false
    print(("  %s  asks whether it still holds: %s"):format(name, tostring(held)))
  end
  dsync.sleep(0.05)
end
d:close()
