-- main.lua: the command `dsync`: finds the subcommand, its options and its help, and ends with its exit code.

local args = require "dsync.cli.args"
local codes = require "dsync.cli.codes"
local process = require "dsync.process"
local say = require "dsync.cli.say"

local io, ipairs, os, require = io, ipairs, os, require
local tostring, type, xpcall = tostring, type, xpcall
local traceback = debug.traceback

local main = {}

-- In the order in which help lists them.
main.commands = {
  "run", "elect", "hold", "leader", "members", "locks", "watch", "status", "break", "doctor", "bench",
}

local function is_command(name)
  for i = 1, #main.commands do
    if main.commands[i] == name then
      return true
    end
  end
  return false
end

--- The module of a subcommand.
function main.command(name)
  return require("dsync.cli." .. name)
end

local function all_options(command)
  local list = { args.help }
  for _, options in ipairs { command.options, command.hidden or {}, require("dsync.cli.settings").options } do
    for i = 1, #options do
      list[#list + 1] = options[i]
    end
  end
  return list
end

-- Where the store is, as far as it can be seen before the options are parsed: only so that loading what it needs can go
-- on beside everything else.
local function prepare(words)
  local url = os.getenv "DSYNC_URL"
  for i, word in ipairs(words) do
    url = word:match "^%-%-url=(.*)$" or word == "--url" and words[i + 1] or url
  end
  require("dsync.core").prepare(url or "local:")
end

local STARTS_PROGRAM = { run = true, elect = true }

local function run_command(name, words)
  if STARTS_PROGRAM[name] then
    process.prepare() -- while this process is small
  end
  prepare(words)
  local command = main.command(name)
  local opts, rest = args.parse(all_options(command), words, command.leading)
  if opts.help then
    require("dsync.cli.help").command(name, command)
    return codes.ok
  end
  local surplus = not command.leading and rest[(command.operands or 0) + 1]
  if surplus then
    args.fail(name .. ': nothing is to be done with the word "' .. surplus .. '"')
  end
  return command.main(opts, rest, words)
end

local function no_command(name)
  args.fail('there is no command "' .. name .. '"' .. args.hint(name, main.commands, ""))
end

local ASKS_FOR_HELP = { help = true, ["--help"] = true, ["-h"] = true }

local function show_help(about)
  if not about or ASKS_FOR_HELP[about] then
    require("dsync.cli.help").all(main)
  elseif is_command(about) then
    require("dsync.cli.help").command(about, main.command(about))
  else
    no_command(about)
  end
  return codes.ok
end

local function dispatch(words)
  local name = table.remove(words, 1)
  if ASKS_FOR_HELP[name] then
    return show_help(words[1])
  elseif name == "--version" or name == "-V" then
    say.line("dsync ", require("dsync").version)
    return codes.ok
  elseif not name then
    require("dsync.cli.help").all(main, io.stderr)
    return codes.usage
  elseif not is_command(name) then
    no_command(name)
  end
  return run_command(name, words)
end

local function with_traceback(message)
  return type(message) == "string" and traceback(message, 2) or message
end

--- Runs the command line `words` and ends the process.
function main.run(words)
  local name = words[1] -- dispatch() takes it away
  local ok, code = xpcall(function()
    return dispatch(words)
  end, with_traceback)
  if not ok and args.is_usage(code) then
    say.message(tostring(code) .. " (see dsync " .. (is_command(name) and name .. " " or "") .. "--help)")
    code = codes.usage
  elseif not ok then
    io.stderr:write("dsync: this is a bug: ", tostring(code), "\n")
    code = codes.internal
  end
  say.finish(code)
end

return main
