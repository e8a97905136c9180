-- Fencing: a store that refuses writes of a holder whose time is over.
--
--   lua examples/fenced_writer.lua
--   DSYNC_URL=etcd://127.0.0.1:2379 lua examples/fenced_writer.lua
--
-- No lock service can keep a stopped process from waking up and finishing the write it had begun. The store can: it
-- remembers the highest token it has seen and refuses lower ones.

local dsync = require "dsync"

-- Stands for a database: UPDATE ... SET content = ?, token = ? WHERE token <= ?
local store = { content = nil, token = 0 }
function store.write(content, token)
  if token < store.token then return nil, ("token %d is older than %d"):format(token, store.token) end
  store.content, store.token = content, token
  return true
end

local url = os.getenv "DSYNC_URL" or "memory:"
local slow = assert(dsync.open(url, { prefix = "examples", id = "slow" }))
local quick = assert(dsync.open(url, { prefix = "examples", id = "quick" }))

-- The slow one takes the lock, remembers its token, and then sleeps too long: here its lock is broken by an operator;
-- it might as well have been stopped beyond its ttl.
local lock = assert(slow:lock("document"):acquire { wait = 30 })
local old_token = lock:token()
assert(store.write("first draft", old_token))
print("slow wrote under its token")
assert(quick:break_lock("document", { token = old_token }))

-- The quick one holds now, with a higher token.
local fresh = assert(quick:lock("document"):acquire { wait = 30 })
assert(fresh:token() > old_token)
assert(store.write("second draft", fresh:token()))
print("quick wrote under a higher one")

-- The slow one wakes up and writes what it was about to write.
local written, why = store.write("stale draft", old_token)
assert(not written and why)
print("the store rejected the stale write")
assert(store.content == "second draft")

-- It had been told, too: held() is false, and dsync's own guarded writes are refused by the server.
print("slow was told: " .. tostring(lock:revoked(30)) .. ", held: " .. tostring(lock:held()))
local put, _, code = lock:put("document", "stale draft")
assert(not put)
print("a guarded put answers: " .. code)

assert(fresh:release())
slow:close()
quick:close()
