-- A leader loop: of several nodes one leads; when it steps down or dies, another takes over.
--
--   lua examples/leader.lua                                    two nodes as coroutines of one process
--   DSYNC_URL=etcd://127.0.0.1:2379 lua examples/leader.lua    the same against a server
--
-- In a real program each node is a process of its own, and leader:run is all there is to it.

local dsync = require "dsync"

local url = os.getenv "DSYNC_URL" or "memory:"
local TERMS = 2 -- each node steps down after so many terms, so that this example ends

local function node(id)
  local d = assert(dsync.open(url, { prefix = "examples", id = id }))
  local terms = 0
  d:leader("scheduler"):run {
    on_elected = function(elected, run)
      terms = terms + 1
      print(("%s leads, term %d, token %s"):format(id, terms, elected:token_string()))
      -- What only the leader does goes here, as long as elected:held().
      dsync.sleep(0.1)
      if terms == TERMS then
        run:stop()
      else
        elected:resign() -- to the end of the queue
      end
    end,
    on_revoked = function(_, _, reason) print(id .. " was deposed: " .. reason) end,
  }
  print(id .. " is done")
  d:close()
end

dsync.run(function()
  dsync.spawn(node, "node-1")
  dsync.spawn(node, "node-2")
end)
