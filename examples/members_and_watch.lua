-- Who stands in an election, and what changes there: members and watch.
--
--   lua examples/members_and_watch.lua
--   DSYNC_URL=etcd://127.0.0.1:2379 lua examples/members_and_watch.lua

local dsync = require "dsync"

local url = os.getenv "DSYNC_URL" or "memory:"
local options = { prefix = "examples", namespace = "workers" }

dsync.run(function()
  local d = assert(dsync.open(url, options))

  -- A watcher begins with the present state, survives reconnects, and always comes to know the present leader.
  local watcher = assert(d:watch { name = "queue" })
  local terms = 0
  dsync.spawn(function()
    while true do
      local event, _, code = watcher:next()
      if not event then
        print("watch ended: " .. code)
        return
      end
      print(("event: %s %s"):format(event.type, event.id or "-"))
      if event.type == "elected" then terms = terms + 1 end
      if event.type == "vacant" and terms == 3 then watcher:close() end
    end
  end)

  local nodes, everybody_stands = {}, false
  for i = 1, 3 do
    nodes[i] = assert(dsync.open(url, options))
    dsync.spawn(function()
      local leader = nodes[i]:leader("queue", { id = "worker-" .. i, value = { port = 8000 + i } })
      local elected = assert(leader:elect { wait = 60 })
      while not everybody_stands do dsync.sleep(0.01) end
      dsync.sleep(0.1)
      assert(elected:resign())
      nodes[i]:close()
    end)
    while #assert(d:members()) < i do dsync.sleep(0.01) end
  end

  -- Every candidate of every election of the namespace, in order.
  for _, member in ipairs(assert(d:members())) do
    print(("member: %s is %s on port %d"):format(member.id, member.role, member.value.port))
  end
  everybody_stands = true
end)
