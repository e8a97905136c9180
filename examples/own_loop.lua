-- An event loop of one's own: what dsync needs of it, written out for a loop on LuaSocket's select.
--
--   lua examples/own_loop.lua
--   DSYNC_URL=etcd://127.0.0.1:2379 lua examples/own_loop.lua
--
-- The interface is described at the top of dsync/runtime.lua. A loop on poll, epoll or Tarantool's iowait differs only
-- in `turn`.

local dsync = require "dsync"
local socket = require "socket"

------------------------------------------------------------------------------------------------------------- the loop

local loop = { ready = {}, timers = {}, readers = {} }

function loop.spawn(fn, ...)
  local arguments, count = { ... }, select("#", ...)
  loop.ready[#loop.ready + 1] = coroutine.create(function()
    fn((table.unpack or unpack)(arguments, 1, count)) -- luacheck: globals unpack
  end)
end

-- Parks the running coroutine until wake(ticket), at most so many seconds.
function loop.park(ticket, seconds)
  ticket.co = coroutine.running()
  if seconds then loop.timers[ticket] = socket.gettime() + seconds end
  coroutine.yield()
  loop.timers[ticket] = nil
end

function loop.wake(ticket)
  if ticket.co then
    loop.ready[#loop.ready + 1] = ticket.co
    ticket.co, loop.timers[ticket] = nil, nil
  end
end

function loop.sleep(seconds)
  loop.park({}, seconds)
end

local function turn()
  local list = loop.ready
  loop.ready = {}
  for _, co in ipairs(list) do
    local ok, message = coroutine.resume(co)
    if not ok then error(debug.traceback(co, message), 0) end
  end
  local now, soonest = socket.gettime(), 1
  for ticket, at in pairs(loop.timers) do
    if at <= now then loop.wake(ticket) else soonest = math.min(soonest, at - now) end
  end
  if loop.ready[1] then soonest = 0 end
  local sources = {}
  for source in pairs(loop.readers) do sources[#sources + 1] = source end
  for _, source in ipairs(socket.select(sources, nil, soonest)) do
    if source.on_readable() == false then loop.readers[source] = nil end
  end
end

function loop.run()
  while loop.ready[1] or next(loop.timers) or next(loop.readers) do turn() end
end

---------------------------------------------------------------------------------------------------------- the adapter

local Waiter = {}
Waiter.__index = Waiter

function Waiter:wait(seconds)
  local deadline = seconds and socket.gettime() + seconds
  while not self.woken do
    local left = deadline and deadline - socket.gettime()
    if left and left <= 0 then break end
    loop.park(self, left)
  end
  local woken = self.woken
  self.woken = false
  return woken
end

function Waiter:wake()
  self.woken = true
  loop.wake(self)
end

local adapter = { name = "own", now = socket.gettime, spawn = loop.spawn }

function adapter.can_wait()
  return true -- or: nil, "this callback cannot wait", "phase"
end

function adapter.waiter()
  return setmetatable({ woken = false }, Waiter)
end

function adapter.attach(get_fd, on_readable)
  local fd, message, code = get_fd()
  if not fd then return nil, message, code end
  local source = { on_readable = on_readable }
  function source.getfd() return fd end
  function source.dirty() return false end
  function source.close() loop.readers[source] = nil end
  loop.readers[source] = true
  return source
end

----------------------------------------------------------------------------------------------------------- in action

local d = assert(dsync.open(os.getenv "DSYNC_URL" or "memory:", { prefix = "examples", runtime = adapter }))
local ticks, working = 0, 3

loop.spawn(function()
  while working > 0 do
    ticks = ticks + 1
    loop.sleep(0.01)
  end
  print("the loop went on meanwhile: " .. tostring(ticks > 5))
end)

for i = 1, 3 do
  loop.spawn(function()
    local lock = assert(d:lock("own-loop"):acquire { wait = 30 })
    print(("worker %d holds it, token %s"):format(i, lock:token_string()))
    loop.sleep(0.05)
    assert(lock:release())
    working = working - 1
    if working == 0 then d:close() end
  end)
end

loop.run()
print "the loop ended"
