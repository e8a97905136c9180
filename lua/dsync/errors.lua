-- errors.lua: programming errors that point at the caller's line, and the error objects of lock:check and lock:guard.
--
-- Expected outcomes are not errors: they are returned as nil, message, code. Nothing here knows of locks.

local getinfo = debug.getinfo
local error, getmetatable, setmetatable = error, getmetatable, setmetatable
local tostring, type = tostring, type

local errors = {}

-- Everything of dsync lives beside this file, or is the file dsync.lua one folder up.
local own = getinfo(1, "S").source:match("^(.*)/errors%.lua$")

errors.own = own

local function is_own(source)
  return own ~= nil and (source:find(own .. "/", 1, true) == 1 or source == own .. ".lua")
end

-- "file:line: " of whoever called into dsync, however deep in it we are.
local function position()
  local level = 3
  while true do
    local info = getinfo(level, "Sl")
    if not info then
      return ""
    end
    if info.currentline > 0 and not is_own(info.source) then
      return info.short_src .. ":" .. info.currentline .. ": "
    end
    level = level + 1
  end
end

--- Raises a programming error at the line of the program that called dsync.
function errors.raise(message)
  error(position() .. message, 0)
end

--- Names a value for a message: its type, and what it is where that helps.
function errors.describe(value)
  local kind = type(value)
  if kind == "string" then
    local shown = #value > 40 and value:sub(1, 37) .. "..." or value
    return "the string \"" .. shown:gsub("%c", "?") .. "\""
  elseif kind == "nil" then
    return "nothing"
  elseif kind == "number" or kind == "boolean" then
    return "the " .. kind .. " " .. tostring(value)
  end
  return "a " .. kind
end

--- Raises "bad argument" for a positional argument.
function errors.argument(call, argument, expected, value)
  errors.raise(call .. ": " .. argument .. " must be " .. expected .. ", got " .. errors.describe(value))
end

local Failure = { __name = "dsync.error" }
Failure.__index = Failure

function Failure:__tostring()
  return self.message
end

--- An error object with `message`, `code`, `lock` (the object it is about) and, for a lost one, `reason`.
function errors.failure(message, code, lock, reason)
  return setmetatable({ message = position() .. message, code = code, lock = lock, reason = reason }, Failure)
end

--- Whether something that was caught says that a lock was lost; and then the reason and the lock.
function errors.is_lost(value)
  if getmetatable(value) == Failure and value.code == "lost" then
    return true, value.reason, value.lock
  end
  return false
end

return errors
