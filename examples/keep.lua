-- Keeping a lock: acquire, and after every loss acquire again, without writing the retry loop by hand.
--
--   lua examples/keep.lua
--   DSYNC_URL=etcd://127.0.0.1:2379 lua examples/keep.lua

local dsync = require "dsync"

local url = os.getenv "DSYNC_URL" or "memory:"

dsync.run(function()
  local d = assert(dsync.open(url, { prefix = "examples", retry_interval = 0.1 }))
  local operator = assert(dsync.open(url, { prefix = "examples", id = "operator" }))
  local times = 0

  -- keep returns when run:stop() was called; in a program with other things to do it gets a coroutine of its own.
  d:lock("camera-7"):keep {
    on_acquired = function(lock, run)
      times = times + 1
      print(("acquired, time %d"):format(times))
      if times == 3 then
        run:stop()
      else
        -- Somebody takes it away; in real life a server restart or a long pause of this process.
        assert(operator:break_lock("camera-7", { token = lock:token() }))
      end
    end,
    on_revoked = function(_, _, reason) print("lost: " .. reason) end,
  }
  print("stopped")
  operator:close()
  d:close()
end)
