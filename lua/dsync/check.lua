-- check.lua: checks option tables against a list of known options: unknown keys, wrong types, times that are no times.
--
-- Knows kinds of values, not what the options mean (options.lua does).

local errors = require "dsync.errors"

local floor, huge, min, math_type = math.floor, math.huge, math.min, math.type
local ipairs, next, pairs, sort, tostring, type = ipairs, next, pairs, table.sort, tostring, type

local check = {}

local LONGEST = 3.2e9 -- seconds: a century
local GREATEST_TOKEN = "9223372036854775807"
local EXACT = 2 ^ 53 -- the whole numbers up to here are exact in every Lua

-- Messages end up in logs: what may be a secret is not shown in them.
local SECRET = { auth = true, ["auth.password"] = true, ["auth.token"] = true, ["zookeeper.digest"] = true }

------------------------------------------------------------------------------------------------------- spelling hints

-- How many letters must change, be added or taken away to make one word of the other.
local function distance(a, b)
  local row = {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
      diagonal, row[j] = row[j], best
    end
  end
  return row[#b]
end

-- What people coming from other libraries write.
local KNOWN_AS = {
  nodes = "endpoints",
  hosts = "endpoints",
  lease = "ttl",
  expire = "ttl",
  expiry = "ttl",
  lock_ttl = "ttl",
  lockttl = "ttl",
  session_ttl = "ttl",
  timeout = "wait",
  lock_wait = "wait",
  lockwait = "wait",
  lock_retry_interval = "retry_interval",
  name_space = "namespace",
  on_lost = "on_revoked",
  username = "user",
  pass = "password",
  verify = "insecure_skip_verify",
}

--- The one among the keys of `known` that `name` was probably meant to be, or nil.
function check.nearest(name, known)
  local word = name:lower():gsub("[%-%s]", "_")
  if known[KNOWN_AS[word]] then
    return KNOWN_AS[word]
  end
  local best, best_distance
  for candidate in pairs(known) do
    local d = distance(word, candidate)
    if not best or d < best_distance or (d == best_distance and candidate < best) then
      best, best_distance = candidate, d
    end
  end
  if best and best_distance <= 1 + floor(#best / 3) then
    return best
  end
end

local function list_of(known)
  local names = {}
  for name in pairs(known) do
    names[#names + 1] = name
  end
  sort(names)
  return table.concat(names, ", ")
end

local function unknown(call, name, known)
  if type(name) ~= "string" then
    errors.raise(call .. ": options must be named, got " .. errors.describe(name) .. " as a key")
  end
  local hint = check.nearest(name, known)
  local tail
  if next(known) == nil then
    tail = "there are none here"
  elseif hint then
    tail = 'did you mean "' .. hint .. '"?'
  else
    tail = "known: " .. list_of(known)
  end
  errors.raise(call .. ': unknown option "' .. name .. '"; ' .. tail)
end

------------------------------------------------------------------------------------------------------------- kinds

--- What is wrong with a number of seconds, or nil.
function check.bad_seconds(value)
  if type(value) ~= "number" then
    return "must be a number of seconds"
  elseif value ~= value then
    return "must be a number of seconds, not NaN"
  elseif value < 0 then
    return "must not be negative"
  elseif value == huge then
    return "must be finite"
  elseif value > LONGEST then
    return "is too long: at most " .. tostring(LONGEST) .. " seconds"
  end
end

local function is_callable(value)
  local meta = type(value) == "table" and debug.getmetatable(value)
  return type(value) == "function" or (type(meta) == "table" and meta.__call ~= nil)
end

local function text_problem(value)
  if type(value) ~= "string" then
    return "must be a string"
  elseif value:find("\0", 1, true) then
    return "must not contain a zero byte"
  end
end

-- Kind of an option -> a function that says what is wrong with a value, or nil.
local KINDS = { seconds = check.bad_seconds, text = text_problem }

function KINDS.limit(value) -- seconds; there is no limit without it
  return value == huge and "must be finite: leave it out to have no limit" or check.bad_seconds(value)
end

function KINDS.interval(value) -- seconds, but not 0
  local problem = check.bad_seconds(value)
  return problem or (value == 0 and "must be more than 0 seconds") or nil
end

function KINDS.flag(value)
  return type(value) ~= "boolean" and "must be true or false" or nil
end

function KINDS.size(value)
  local ok = type(value) == "number" and value >= 1 and value <= 2 ^ 53 and value == floor(value)
  return not ok and "must be a whole number of bytes" or nil
end

KINDS["function"] = function(value)
  return not is_callable(value) and "must be a function" or nil
end

function KINDS.value(value)
  return type(value) ~= "string" and type(value) ~= "table" and "must be a string or a table" or nil
end

function KINDS.texts(value)
  if type(value) == "table" then
    local count = 0
    for _ in pairs(value) do
      count = count + 1
    end
    for i = 1, count do
      if text_problem(value[i]) then
        return "must be a list of strings (number " .. i .. " is none)"
      end
    end
    return nil
  end
  return "must be a list of strings"
end

local function token_text_problem(text)
  local digits = text:match "^0*(%d+)$"
  if not digits then
    return "must be a token: digits"
  end
  local too_great = #digits > #GREATEST_TOKEN or (#digits == #GREATEST_TOKEN and digits > GREATEST_TOKEN)
  return too_great and "must be a token: no token is that great" or nil
end

function KINDS.token(value)
  if type(value) == "string" then
    return token_text_problem(value)
  elseif type(value) ~= "number" or value < 0 or value ~= floor(value) then
    return "must be a token, as token() or token_string() gave it"
  elseif value > EXACT and not (math_type and math_type(value) == "integer") then
    return "must be an exact token: give it as a string, as token_string() gave it"
  end
end

function KINDS.canceller(value)
  local is_one = type(value) == "table" and type(value.cancel) == "function" and type(value.add_hook) == "function"
  return not is_one and "must come from dsync.canceller()" or nil
end

function KINDS.runtime(value)
  return type(value) ~= "string" and type(value) ~= "table" and 'must be "auto", the name of an adapter or an adapter'
    or nil
end

function KINDS.scalar(value) -- of a backend's settings
  local kind = type(value)
  if kind == "number" or kind == "boolean" then
    return nil
  end
  return kind == "table" and KINDS.texts(value) or kind ~= "table" and text_problem(value) or nil
end

function KINDS.scope(value)
  return value ~= "region" and value ~= "global" and 'must be "region" or "global"' or nil
end

function KINDS.session(value)
  return value ~= "shared" and value ~= "own" and 'must be "shared" or "own"' or nil
end

--------------------------------------------------------------------------------------------------------- checking

local function shown(full, value)
  return SECRET[full] and "a " .. type(value) or errors.describe(value)
end

--- Raises, at the caller's line, unless `given` is nil or a table whose keys are all in `known` (name -> kind, or a
--- nested table of that form) and whose values are of their kinds. `call` begins the message.
function check.options(call, given, known, path)
  if given == nil then
    return
  elseif type(given) ~= "table" then
    local what = path and 'option "' .. path .. '"' or "options"
    errors.raise(call .. ": " .. what .. " must be a table, got " .. shown(path, given))
  end
  for name, value in pairs(given) do
    local kind = known[name]
    local full = (path and path .. "." or "") .. tostring(name)
    if kind == nil then
      unknown(path and call .. ': option "' .. path .. '"' or call, name, known)
    elseif type(kind) == "table" then
      check.options(call, value, kind, full)
    else
      local problem = KINDS[kind](value)
      if problem then
        errors.raise(call .. ': option "' .. full .. '" ' .. problem .. ", got " .. shown(full, value))
      end
    end
  end
end

--- A required string argument.
function check.text(call, argument, value)
  if type(value) ~= "string" then
    errors.argument(call, argument, "a string", value)
  elseif value:find("\0", 1, true) then
    errors.raise(call .. ": " .. argument .. " must not contain a zero byte")
  end
  return value
end

--- A required function argument.
function check.callable(call, argument, value)
  if not is_callable(value) then
    errors.argument(call, argument, "a function", value)
  end
  return value
end

--- A time that may be nil.
function check.seconds(call, argument, value)
  local problem = value ~= nil and check.bad_seconds(value)
  if problem then
    errors.raise(call .. ": " .. argument .. " " .. problem .. ", got " .. errors.describe(value))
  end
  return value
end

--- Joins what is known in several tables.
function check.union(...)
  local all = {}
  for _, known in ipairs({ ... }) do
    for name, kind in pairs(known) do
      all[name] = kind
    end
  end
  return all
end

return check
