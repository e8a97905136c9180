-- A lock: take it, know that you hold it, give it back.
--
--   lua examples/lock.lua                                    in one process, no server
--   DSYNC_URL=etcd://127.0.0.1:2379 lua examples/lock.lua    across machines

local dsync = require "dsync"

local d = assert(dsync.open(os.getenv "DSYNC_URL" or "memory:", { prefix = "examples", ttl = 15 }))

-- Waits at most 30 s. Expected outcomes are returned as nil, message, code, so assert() turns them into errors.
local lock = assert(d:lock("nightly-report"):acquire { wait = 30, value = { job = "report" } })

-- Told once if the lock is lost: the server was unreachable for too long, somebody removed it, ...
lock:on_revoked(function(_, reason) print("lost it: " .. reason) end)

-- Pass the token to whatever you write to: it grows with every holder, so that a store can refuse who comes too late.
print(("holding %s for at least %.0f s with token %s"):format(lock:name(), lock:valid_for(), lock:token_string()))

-- Nobody else gets it meanwhile; the message says who holds.
local second, message, code = d:lock("nightly-report"):try()
print("a second try: " .. tostring(second) .. ", " .. code)
assert(message)

-- Ask before each step that must not happen twice: this raises if the lock is gone.
lock:check()
assert(lock:release())
print("released, held: " .. tostring(lock:held()))

-- The same with a function: released on return and on error.
local result = assert(d:with_lock("nightly-report", { wait = 30 }, function(held, name)
  return ("hello %s under token %s"):format(name, held:token_string())
end, "world"))
print(result)

d:close()
