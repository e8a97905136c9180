-- protect.lua: calls a function so that its errors are caught and it may still yield, on every Lua.
--
-- Lua 5.1 cannot yield across pcall: there the function runs in a coroutine of its own and its yields are handed on to
-- the coroutine around it.

local core = require "dsync.core"

local coroutine, xpcall, type, select, setmetatable = coroutine, xpcall, type, select, setmetatable
local traceback = debug.traceback
local unpack = table.unpack or unpack

local protect = {}

-- Whether this Lua can yield across pcall. Not tried out: nginx's coroutine.resume() yields, which require() cannot.
local pcall_yields = _VERSION ~= "Lua 5.1" or package.loaded.jit ~= nil
protect.pcall_yields = pcall_yields

local outer_of = setmetatable({}, { __mode = "kv" })

--- The coroutine inside which protect.call runs `co`, or nil.
function protect.outer(co)
  return outer_of[co]
end

--- The coroutine that a scheduler has to resume so that `co` goes on: itself, unless it runs inside protect.call.
function protect.outermost(co)
  local outer = outer_of[co]
  while outer do
    co, outer = outer, outer_of[outer]
  end
  return co
end

--- Called with (inner, outer) when a coroutine is put inside another: a scheduler that knows `outer` shall take waits
--- in `inner` for waits of `outer`.
function protect.adopt() end

local function with_traceback(message)
  if type(message) == "string" then
    return traceback(message, 2)
  end
  return message
end

local function relay(co, ok, ...)
  if not ok then
    local message = ...
    if type(message) == "string" then
      message = traceback(co, message)
    end
    return false, message
  elseif coroutine.status(co) == "dead" then
    return true, ...
  elseif not coroutine.running() then
    return false, traceback(co, "attempt to yield from outside a coroutine")
  end
  return relay(co, coroutine.resume(co, coroutine.yield(...)))
end

-- Guards that went along into the inner coroutine come back.
local function leave(co, ...)
  core.guard_move(co, nil)
  return ...
end

protect.traceback = with_traceback

if pcall_yields then
  --- Returns true and fn's results, or false and the error: a string gets its traceback, anything else stays as it is.
  function protect.call(fn, ...)
    local count, arguments = select("#", ...), { ... }
    return xpcall(function()
      return fn(unpack(arguments, 1, count))
    end, with_traceback)
  end
else
  function protect.call(fn, ...)
    local co = coroutine.create(function(...)
      return fn(...)
    end)
    outer_of[co] = coroutine.running()
    protect.adopt(co, coroutine.running())
    core.guard_move(nil, co)
    return leave(co, relay(co, coroutine.resume(co, ...)))
  end
end

return protect
