-- plain.lua: the adapter for Lua programs without an event loop: dsync's own scheduler.
--
-- Inside dsync.run a coroutine parks and the others go on. Outside, a call blocks in the core, in slices that leave
-- Ctrl-C its chance; when there are tasks (callbacks that wait, coroutines that were spawned), it turns the scheduler
-- instead, so that they go on too.

local core = require "dsync.core"
local scheduler = require "dsync.scheduler"

local plain = { name = "plain", now = core.now, waiter = scheduler.waiter, settle = scheduler.settle }

function plain.can_wait()
  return true
end

function plain.parks()
  return scheduler.in_task() or scheduler.busy()
end

function plain.spawn(fn, ...)
  scheduler.spawn(nil, fn, ...)
end

function plain.attach(get_fd, on_readable)
  local fd, message, code = get_fd()
  if not fd then
    return nil, message, code
  end
  return scheduler.attach(fd, on_readable)
end

return plain
