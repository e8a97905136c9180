-- json.lua: tables into JSON and back, strictly: for the values that holders show.
--
-- A table is an array when its keys are 1..n, an object when they are all strings, an error otherwise; the empty table
-- is an object. What JSON cannot hold is an error that names the place. Integers stay integers where this Lua has them.

local byte, char, find, format = string.byte, string.char, string.find, string.format
local gsub, match, sub = string.gsub, string.match, string.sub
local concat, sort = table.concat, table.sort
local floor, huge = math.floor, math.huge
local math_type, to_integer = math.type, math.tointeger
local error, ipairs, pairs, pcall = error, ipairs, pairs, pcall
local rawequal, select, setmetatable, tonumber, type = rawequal, select, setmetatable, tonumber, type

local json = {}

local MAX_DEPTH = 32

--- Stands for JSON's null inside decoded arrays and objects; encodes to null.
json.null = setmetatable({}, {
  __name = "dsync.null",
  __tostring = function()
    return "null"
  end,
})

-- Raised inside, caught by encode and decode: a plain string, without a position.
local function refuse(message)
  error(message, 0)
end

---------------------------------------------------------------------------------------------------------------- writing

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escape(c)
  return ESCAPES[c] or format("\\u%04x", byte(c))
end

-- Well-formed sequences of more than one byte, longest first where the first byte decides.
local UTF8 = {
  "^[\194-\223][\128-\191]",
  "^\224[\160-\191][\128-\191]",
  "^[\225-\236\238\239][\128-\191][\128-\191]",
  "^\237[\128-\159][\128-\191]",
  "^\240[\144-\191][\128-\191][\128-\191]",
  "^[\241-\243][\128-\191][\128-\191][\128-\191]",
  "^\244[\128-\143][\128-\191][\128-\191]",
}

local function is_utf8(text)
  local at = find(text, "[\128-\255]")
  while at do
    local last
    for _, pattern in ipairs(UTF8) do
      last = select(2, find(text, pattern, at))
      if last then
        break
      end
    end
    if not last then
      return false
    end
    at = find(text, "[\128-\255]", last + 1)
  end
  return true
end

local function write_string(text, where)
  if not is_utf8(text) then
    refuse(where .. " is a string that is not UTF-8")
  end
  return '"' .. gsub(text, '[%c"\\\127]', escape) .. '"'
end

local function write_number(number, where)
  if math_type and math_type(number) == "integer" then
    return format("%d", number)
  end
  if number ~= number or number == huge or number == -huge then
    refuse(where .. " is not a finite number")
  end
  if number == floor(number) and number > -2 ^ 53 and number < 2 ^ 53 then
    return format("%.0f", number)
  end
  local text = format("%.14g", number)
  if tonumber(text) ~= number then
    text = format("%.17g", number)
  end
  return (gsub(text, ",", "."))
end

local write

-- n for an array of n, 0 for an object.
local function array_length(value, where)
  local count, strings, first = 0, 0, nil
  for key in pairs(value) do
    if type(key) == "string" then
      strings = strings + 1
    elseif type(key) == "number" and key >= 1 and key == floor(key) then
      count = count + 1
    else
      refuse(where .. " has a key that is a " .. type(key) .. ": only strings, or 1..n, can be stored")
    end
    first = first or key
  end
  if count > 0 and strings > 0 then
    refuse(where .. " mixes numbered and named keys: store one or the other")
  elseif count > 0 and #value ~= count then
    refuse(where .. " is a list with holes")
  end
  for i = 1, count do
    if value[i] == nil then
      refuse(where .. " is a list with holes")
    end
  end
  return count
end

local function write_object(value, where, depth)
  local keys = {}
  for key in pairs(value) do
    keys[#keys + 1] = key
  end
  sort(keys)
  local parts = {}
  for i, key in ipairs(keys) do
    parts[i] = write_string(key, "a key of " .. where) .. ":" .. write(value[key], where .. "." .. key, depth)
  end
  return "{" .. concat(parts, ",") .. "}"
end

local function write_table(value, where, depth)
  if depth >= MAX_DEPTH then
    refuse(where .. " is nested more than " .. MAX_DEPTH .. " deep (does it contain itself?)")
  end
  local count = array_length(value, where)
  if count == 0 then
    return write_object(value, where, depth + 1)
  end
  local parts = {}
  for i = 1, count do
    parts[i] = write(value[i], where .. "[" .. i .. "]", depth + 1)
  end
  return "[" .. concat(parts, ",") .. "]"
end

function write(value, where, depth)
  local kind = type(value)
  if kind == "string" then
    return write_string(value, where)
  elseif kind == "number" then
    return write_number(value, where)
  elseif kind == "boolean" then
    return value and "true" or "false"
  elseif rawequal(value, json.null) then
    return "null"
  elseif kind == "table" then
    return write_table(value, where, depth)
  end
  return refuse(where .. " is a " .. kind .. ", which JSON cannot hold")
end

--- The JSON text of a table, or nil and what is wrong. `where` names the table in that message.
function json.encode(value, where)
  local ok, text = pcall(write, value, where or "value", 0)
  if ok then
    return text
  end
  return nil, text
end

---------------------------------------------------------------------------------------------------------------- reading

local UNESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function utf8_char(code)
  if code < 0x80 then
    return char(code)
  elseif code < 0x800 then
    return char(0xC0 + floor(code / 64), 0x80 + code % 64)
  elseif code < 0x10000 then
    return char(0xE0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
  end
  return char(
    0xF0 + floor(code / 262144),
    0x80 + floor(code / 4096) % 64,
    0x80 + floor(code / 64) % 64,
    0x80 + code % 64
  )
end

local function read_unicode(text, at)
  local high = match(text, "^%x%x%x%x", at)
  if not high then
    refuse("a broken \\u escape")
  end
  local code = tonumber(high, 16)
  if code >= 0xD800 and code < 0xDC00 then
    local low = match(text, "^\\u([dD][c-fC-F]%x%x)", at + 4)
    if not low then
      refuse("half a surrogate pair")
    end
    return utf8_char(0x10000 + (code - 0xD800) * 0x400 + tonumber(low, 16) - 0xDC00), at + 10
  elseif code >= 0xDC00 and code < 0xE000 then
    refuse("half a surrogate pair")
  end
  return utf8_char(code), at + 4
end

local function read_string(text, at)
  local parts = {}
  while true do
    local stop = find(text, '["\\%c]', at)
    local c = stop and sub(text, stop, stop)
    if not c or (c ~= '"' and c ~= "\\" and c ~= "\127") then
      refuse("an unfinished string")
    end
    parts[#parts + 1] = sub(text, at, stop - 1)
    if c == '"' then
      return concat(parts), stop + 1
    elseif c == "\127" then
      parts[#parts + 1] = c
      at = stop + 1
    else
      local escaped = sub(text, stop + 1, stop + 1)
      if escaped == "u" then
        parts[#parts + 1], at = read_unicode(text, stop + 2)
      else
        parts[#parts + 1] = UNESCAPES[escaped] or refuse("an unknown escape")
        at = stop + 2
      end
    end
  end
end

local function read_number(text, at)
  local digits = match(text, "^-?%d+", at)
  if not digits or find(digits, "^-?0%d") then
    refuse("something that is no value")
  end
  local rest = match(text, "^%.%d+", at + #digits) or ""
  rest = rest .. (match(text, "^[eE][+-]?%d+", at + #digits + #rest) or "")
  local number = tonumber(digits .. rest)
  if rest == "" and to_integer then
    number = to_integer(number) or number
  end
  return number, at + #digits + #rest
end

local function skip(text, at)
  return find(text, "[^ \t\r\n]", at) or #text + 1
end

local read

local function read_array(text, at, depth)
  local list = {}
  at = skip(text, at)
  if sub(text, at, at) == "]" then
    return list, at + 1
  end
  while true do
    list[#list + 1], at = read(text, at, depth)
    at = skip(text, at)
    local c = sub(text, at, at)
    if c == "]" then
      return list, at + 1
    elseif c ~= "," then
      refuse("a broken array")
    end
    at = at + 1
  end
end

local function read_member(text, at, depth, object)
  at = skip(text, at)
  if sub(text, at, at) ~= '"' then
    refuse("a broken object")
  end
  local key
  key, at = read_string(text, at + 1)
  at = skip(text, at)
  if sub(text, at, at) ~= ":" then
    refuse("a broken object")
  end
  object[key], at = read(text, at + 1, depth)
  return skip(text, at)
end

local function read_object(text, at, depth)
  local object = {}
  at = skip(text, at)
  if sub(text, at, at) == "}" then
    return object, at + 1
  end
  while true do
    at = read_member(text, at, depth, object)
    local c = sub(text, at, at)
    if c == "}" then
      return object, at + 1
    elseif c ~= "," then
      refuse("a broken object")
    end
    at = at + 1
  end
end

local WORDS = { ["true"] = true, ["false"] = false, null = json.null }

function read(text, at, depth)
  at = skip(text, at)
  local c = sub(text, at, at)
  if c == '"' then
    return read_string(text, at + 1)
  elseif c == "{" or c == "[" then
    if depth >= MAX_DEPTH then
      refuse("nested too deep")
    end
    return (c == "{" and read_object or read_array)(text, at + 1, depth + 1)
  end
  local word = match(text, "^%l+", at)
  if word and WORDS[word] ~= nil then
    return WORDS[word], at + #word
  end
  return read_number(text, at)
end

local function read_all(text)
  local value, at = read(text, 1, 0)
  if skip(text, at) <= #text then
    refuse("something after the value")
  end
  return value
end

--- The value of a JSON text, or nil and what is wrong with it.
function json.decode(text)
  local ok, value = pcall(read_all, text)
  if ok then
    return value
  end
  return nil, value
end

return json
