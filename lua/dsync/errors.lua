-- errors.lua: programming errors that point at the caller's line, and the error that lock:check() raises.
--
-- Expected outcomes are not errors: they are returned as nil, message, code. Nothing here knows of locks.

local getinfo = debug.getinfo
local error, setmetatable, tostring, type = error, setmetatable, tostring, type

local errors = {}

-- Everything of dsync lives beside this file, or is the file dsync.lua one folder up.
local own = getinfo(1, "S").source:match("^(.*)/errors%.lua$")

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

--- Raises an error object with `message`, `code` and, for a lost lock, `reason`.
function errors.failure(message, code, reason)
  error(setmetatable({ message = position() .. message, code = code, reason = reason }, Failure), 0)
end

return errors
