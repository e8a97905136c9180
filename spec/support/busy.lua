-- Work without end, for tests of guards. LuaJIT notices a loss at calls that it does not compile: it gets such calls.
local dsync = require "dsync"

local busy = {}

busy.now = require "dsync.core".now

local step = rawget(_G, "jit") and os.time or function() end
busy.step = step

function busy.for_ever()
  while true do step() end
end

-- Keeps the processor busy for a while.
function busy.work(seconds)
  local deadline = busy.now() + seconds
  while busy.now() < deadline do step() end
end

-- Swallows every error.
function busy.stubborn()
  while true do pcall(busy.for_ever) end
end

-- A lock that is lost `seconds` after it was acquired, whatever happens.
function busy.doomed(client, name, seconds)
  return assert(client:lock(name, { hold = seconds or 0.05 }):acquire())
end

-- What lock:guard(fn) said, after checking that it said that the lock was lost.
function busy.lost(value, message, code)
  assert(value == nil and code == "lost", "expected a loss, got " .. tostring(value) .. ", " .. tostring(message))
  return message
end

function busy.median(list)
  table.sort(list)
  return list[math.floor((#list + 1) / 2)]
end

busy.is_lost = dsync.is_lost

return busy
