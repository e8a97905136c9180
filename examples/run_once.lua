-- A job that runs once per cluster and day, although every node's timer starts it.
--
--   lua examples/run_once.lua [day]
--   DSYNC_URL=etcd://127.0.0.1:2379 lua examples/run_once.lua
--
-- The lock keeps two nodes from working at once; the guarded write remembers that the work was done, and only a node
-- that still holds the lock can write it.

local dsync = require "dsync"

local url = os.getenv "DSYNC_URL" or "memory:"
local day = arg and arg[1] or os.date "%Y-%m-%d"

local function job(lock)
  print("  working under token " .. lock:token_string())
  dsync.sleep(0.1)
end

local function node(id)
  local d = assert(dsync.open(url, { prefix = "examples", id = id }))
  local done, message, code = d:with_lock("daily-job", { wait = 30 }, function(lock)
    local by = d:get("daily-job/" .. day)
    if by then return id .. ": already done by " .. by end
    job(lock)
    assert(lock:put("daily-job/" .. day, id))
    return id .. ": did it"
  end)
  -- code "lost": somebody else may have begun meanwhile; the job must be able to stand that.
  print(done or ("%s: %s (%s)"):format(id, message, code))
  d:close()
end

dsync.run(function()
  for i = 1, 3 do dsync.spawn(node, "node-" .. i) end
end)
