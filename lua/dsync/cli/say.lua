-- say.lua: everything the command prints: messages on stderr, results on stdout, for people or as JSON lines.
--
-- What others have written into the store is shown with its control characters made visible: it must not drive the
-- terminal. Fields of a JSON line keep their order; new ones are only ever added.

local getmetatable, io, ipairs, os, pairs = getmetatable, io, ipairs, os, pairs
local setmetatable, tostring = setmetatable, tostring
local concat, floor, format = table.concat, math.floor, string.format

local codes = require "dsync.cli.codes"
local process = require "dsync.process"

local say = {}

--------------------------------------------------------------------------------------------------------------- text

--- Text from elsewhere, harmless for a terminal.
function say.safe(text)
  text = tostring(text):gsub("[%z\1-\31\127]", function(c)
    return format("\\x%02x", c:byte())
  end)
  return (text:gsub("\194[\128-\159]", "?")) -- the control characters above 127
end

--- "dsync: message" on stderr.
function say.message(message)
  io.stderr:write("dsync: ", say.safe(message), "\n")
end

local unwritten -- why results could not be written

--- A line of results, at once. That nobody reads them any more is no fault.
function say.line(...)
  local ok, why = io.stdout:write(concat { ... }, "\n")
  if ok then
    ok, why = io.stdout:flush()
  end
  if not ok and not why:find("Broken pipe", 1, true) then
    unwritten = unwritten or why
  end
end

--- Ends the process with this code, unless that would hide that there were results which nobody got.
function say.finish(code)
  if unwritten then
    say.message("the results could not be written: " .. unwritten)
    code = code == codes.ok and codes.unwritten or code
  end
  process.exit(code)
end

--------------------------------------------------------------------------------------------------------------- times

--- Seconds since 1970 as RFC 3339, in UTC, with milliseconds.
function say.timestamp(seconds)
  local whole = floor(seconds)
  local ms = floor((seconds - whole) * 1000)
  return os.date("!%Y-%m-%dT%H:%M:%S", whole) .. format(".%03dZ", ms)
end

--- A length of time for people: 340ms, 12s, 5m, 3h, 4d.
function say.duration(seconds)
  if seconds < 1 then
    return format("%dms", floor(seconds * 1000 + 0.5))
  elseif seconds < 100 then
    return format("%ds", floor(seconds))
  elseif seconds < 6000 then
    return format("%dm", floor(seconds / 60))
  elseif seconds < 172800 then
    return format("%dh", floor(seconds / 3600))
  end
  return format("%dd", floor(seconds / 86400))
end

--- How long ago a moment was, for people; "" when it is not known.
function say.ago(seconds, now)
  if not seconds then
    return ""
  end
  return say.duration(now > seconds and now - seconds or 0)
end

---------------------------------------------------------------------------------------------------------------- JSON

local function text_of(value)
  local json = require "dsync.json"
  local text = json.encode(value)
  if text then
    return text
  end
  -- No UTF-8: shown, not lost.
  return json.encode((tostring(value):gsub("[\128-\255]", function(c)
    return format("\\x%02x", c:byte())
  end)))
end

local Digits, Record, List = {}, {}, {} -- told from tables that others have stored by these

--- A token or another number that must not be rounded: its digits.
function say.digits(text)
  return text and setmetatable({ text }, Digits) or nil
end

--- { {"field", value}, ... } as a value within another record.
function say.object(fields)
  return setmetatable(fields, Record)
end

--- A list of such values.
function say.list(values)
  return setmetatable(values, List)
end

local function write(value)
  local kind = getmetatable(value)
  if kind == Digits then
    return value[1]
  elseif kind == Record then
    return say.record(value)
  elseif kind ~= List then
    return text_of(value)
  end
  local parts = {}
  for i, one in ipairs(value) do
    parts[i] = write(one)
  end
  return "[" .. table.concat(parts, ",") .. "]"
end

--- { {"field", value}, ... } as JSON; fields whose value is nil are left out. A value may be say.digits(text),
--- say.object(fields) or say.list(values).
function say.record(fields)
  local parts = {}
  for _, field in pairs(fields) do
    if field[2] ~= nil then
      parts[#parts + 1] = text_of(field[1]) .. ":" .. write(field[2])
    end
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

return say
