-- args.lua: a command line into a table of options and a list of the rest. Knows no command.
--
-- An option is { name, kind [, short=letter] [, value=word for help] [, help=text] }. Kinds: "flag"; "text"; "number"
-- (whole, from 0); "seconds" (30, 0.5, 500ms, 5m, 2h, 1d); "wait" (seconds, but the value is optional and follows "=");
-- "texts" (may be given again; a list); or a list of the words that are allowed.

local error, ipairs, setmetatable, tonumber, tostring, type = error, ipairs, setmetatable, tonumber, tostring, type
local concat, floor = table.concat, math.floor

local args = {}

--- The option of every command.
args.help = { name = "help", short = "h", kind = "flag", help = "show this" }

local Usage = {
  __tostring = function(self)
    return self.message
  end,
}

--- Ends the command: what was typed cannot be meant.
function args.fail(message)
  error(setmetatable({ message = message }, Usage), 0)
end

--- Whether an error that was caught came from args.fail.
function args.is_usage(value)
  return getmetatable(value) == Usage
end

--- What a word of the command line was probably meant to be, as the end of a message, or "". words: those that are
--- known, each behind `mark`.
function args.hint(word, words, mark)
  local known = {}
  for _, one in ipairs(words) do
    known[(one:gsub("%-", "_"))] = one
  end
  local meant = known[require("dsync.check").nearest(word, known)]
  return meant and ": did you mean " .. mark .. meant .. "?" or ""
end

local UNITS = { ms = 0.001, s = 1, m = 60, h = 3600, d = 86400 }

--- "1.5", "500ms", "5m" as seconds, or nil.
function args.seconds(text)
  local digits, unit = text:match "^(%d*%.?%d*)(%a*)$"
  local number = digits and tonumber(digits)
  local factor = UNITS[unit == "" and "s" or unit]
  return number and factor and number * factor or nil
end

local kinds = {}

function kinds.text(text)
  return text
end

function kinds.number(text)
  local number = text:find "^%d+$" and tonumber(text)
  return number and floor(number), "a whole number"
end

function kinds.token(text)
  return text:find "^%d+$" and text, "a token: digits"
end

kinds["exit code"] = function(text)
  local number = text:find "^%d+$" and tonumber(text)
  return number and number <= 255 and floor(number), "an exit code from 0 to 255"
end

function kinds.seconds(text)
  return args.seconds(text), "a time such as 30, 0.5, 500ms, 5m or 2h"
end

kinds.wait = kinds.seconds
kinds.texts = kinds.text

local function one_of(words, text)
  for _, word in ipairs(words) do
    if word == text then
      return word
    end
  end
  return nil, "one of " .. concat(words, ", ")
end

local function convert(option, shown, text)
  local value, expected
  if type(option.kind) == "table" then
    value, expected = one_of(option.kind, text)
  else
    value, expected = kinds[option.kind](text)
  end
  if not value then
    args.fail(shown .. " needs " .. expected .. ', got "' .. text .. '"')
  end
  return value
end

local function find(options, name)
  local long = name:match "^%-%-(.+)$"
  for _, option in ipairs(options) do
    if long and option.name == long or name == "-" .. (option.short or "") then
      return option
    end
  end
  local names = {}
  for i, option in ipairs(options) do
    names[i] = option.name
  end
  args.fail("unknown option " .. name .. (long and args.hint(long, names, "--") or ""))
end

local function store(found, option, value)
  local key = option.name:gsub("%-", "_")
  if option.kind == "texts" then
    found[key] = found[key] or {}
    found[key][#found[key] + 1] = value
  else
    found[key] = value
  end
end

-- One option at words[at]; where the next word is.
local function take(options, words, at, found)
  local word = words[at]
  local name, value = word:match "^(%-%-[^=]+)=(.*)$"
  if not name and word:find "^%-%a." then
    name, value = word:sub(1, 2), word:sub(3) -- -E5
  end
  name = name or word
  local option = find(options, name)
  if option.kind == "flag" then
    if value then
      args.fail(name .. " takes no value")
    end
    store(found, option, true)
    return at + 1
  elseif option.kind == "wait" then
    local behind = words[at + 1]
    if not value and behind and args.seconds(behind) then
      args.fail(name .. " " .. behind .. ": did you mean " .. name .. "=" .. behind .. "?")
    end
    store(found, option, value and convert(option, name, value) or "for ever")
    return at + 1
  elseif not value then
    at = at + 1
    value = words[at]
    if not value then
      args.fail(name .. " needs a value")
    end
  end
  store(found, option, convert(option, name, value))
  return at + 1
end

--- The options in `words` (a table by name, "-" as "_") and the other words in order. With `leading`, options end at
--- the first other word; a "--" right after it is dropped.
function args.parse(options, words, leading)
  local found, rest, at = {}, {}, 1
  while at <= #words do
    local word = words[at]
    if word == "--" then
      at = at + 1
      break
    elseif word:find "^%-." then
      at = take(options, words, at, found)
    else
      rest[#rest + 1] = word
      at = at + 1
      if leading then
        at = words[at] == "--" and at + 1 or at
        break
      end
    end
  end
  for i = at, #words do
    rest[#rest + 1] = tostring(words[i])
  end
  return found, rest
end

return args
