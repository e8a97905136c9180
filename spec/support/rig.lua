-- Processes, ports and temporary folders for tests, by way of rig.py. Knows nothing about servers or about dsync.
--
-- Whatever is started here is gone, with everything it started itself, when this Lua process is gone, however it ended.
-- Every wait has a limit. Works under every Lua without C modules.

local rig = {}

local process = {} -- methods of what rig.start returns
process.__index = process

local answers, requests, base, own_pid

local escapes = { ["\\"] = "\\\\", ["\t"] = "\\t", ["\n"] = "\\n", ["\r"] = "\\r" }
local plain = { ["\\"] = "\\", t = "\t", n = "\n", r = "\r" }

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

rig.quoted = quoted -- for a shell

-- The folder of this file, to find its neighbours from any working directory.
local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."

local function read_pid_and_base()
  local line = answers:read "*l"
  if not line then error("rig.py did not start; is python3 installed?", 0) end
  base, own_pid = line:match "^([^\t]*)\t(%d+)$"
end

local function connect()
  answers = assert(io.popen("if [ -x /usr/bin/python3 ]; then exec /usr/bin/python3 " .. quoted(here .. "/rig.py")
    .. " </dev/null; fi; exec python3 " .. quoted(here .. "/rig.py") .. " </dev/null", "r"))
  read_pid_and_base()
  requests = assert(io.open(base .. "/requests", "w"))
end

-- Sends one request and returns the fields of its answer.
local function ask(...)
  local new = not requests
  if new then connect() end
  local fields = { ... }
  for i = 1, #fields do fields[i] = tostring(fields[i]):gsub("[\\\t\n\r]", escapes) end
  requests:write(table.concat(fields, "\t"), "\n")
  requests:flush()
  local line = answers:read "*l"
  if not line then error("rig.py is gone", 0) end
  local answer = {}
  for field in (line .. "\t"):gmatch "([^\t]*)\t" do
    answer[#answer + 1] = field:gsub("\\(.)", plain)
  end
  if answer[1] == "error" then error("rig: " .. tostring(answer[2]), 0) end
  return (table.unpack or unpack)(answer, 1, #answer) -- luacheck: globals unpack
end

-- {NAME = "value", ...} as a list "NAME=value".
local function settings(env)
  local list = {}
  for name, value in pairs(env or {}) do list[#list + 1] = name .. "=" .. value end
  return list
end

local function append(list, more)
  for i = 1, #more do list[#list + 1] = more[i] end
  return list
end

-- This process's id.
function rig.pid()
  ask "hello"
  return tonumber(own_pid)
end

-- An empty folder, removed at the end. `big`: in memory when there is room, for data that would be synced to disk.
function rig.tempdir(big)
  local _, path = ask("tempdir", big and 1 or 0)
  return path
end

-- `count` free loopback ports. Nobody holds them: start the server soon, and be ready to try again.
function rig.ports(count)
  local list = { ask("ports", count or 1) }
  table.remove(list, 1)
  for i = 1, #list do list[i] = tonumber(list[i]) end
  return list
end

-- The program this script runs under: "lua5.4", "luajit", ...
function rig.interpreter()
  local named = os.getenv "DSYNC_TEST_LUA"
  if named and named ~= "" then return named end
  local lowest = 0
  while arg and arg[lowest - 1] do lowest = lowest - 1 end
  return arg and arg[lowest] or "lua"
end

-- Runs a program to its end. options: env, input, timeout (30 s). Returns exit code (128 + n after signal n), standard
-- output, standard error; nil, "timeout" with what it had said.
function rig.run(argv, options)
  options = options or {}
  local env = settings(options.env)
  local request = append(append({ "run", options.timeout or 30, options.input or "", #env }, env), argv)
  local state, code, out, err = ask((table.unpack or unpack)(request)) -- luacheck: globals unpack
  if state == "timeout" then return nil, "timeout", code, out end
  code = tonumber(code)
  return code < 0 and 128 - code or code, out, err
end

-- Starts a program in the background. options: env, cwd, log (a file that gets all its output too), merge (standard
-- error comes with the lines of standard output; otherwise it goes to the log).
function rig.start(argv, options)
  options = options or {}
  local env = settings(options.env)
  local request = append(append({ "spawn", options.cwd or "", options.log or "", options.merge and 1 or 0,
    #env }, env), argv)
  local _, number, pid = ask((table.unpack or unpack)(request)) -- luacheck: globals unpack
  return setmetatable({ number = number, pid = tonumber(pid), name = argv[1], log = options.log }, process)
end

-- The next line it printed; nil, "timeout" or nil, "eof".
function process:line(timeout)
  local state, line = ask("line", self.number, timeout or 10)
  if state == "ok" then return line end
  return nil, state
end

-- Skips lines until one matches the Lua pattern; returns it and its captures. nil, "timeout"/"eof", the lines skipped.
function process:expect(pattern, timeout)
  local limit, skipped = os.time() + (timeout or 10), {}
  while true do
    local line, why = self:line(math.max(limit - os.time(), 0.05))
    if not line then return nil, why, table.concat(skipped, "\n") end
    if line:find(pattern) then return line, line:match(pattern) end
    skipped[#skipped + 1] = line
    if os.time() > limit + 1 then return nil, "timeout", table.concat(skipped, "\n") end
  end
end

-- Prints what it prints, until it has ended; its exit code.
function process:relay()
  while true do
    local line, why = self:line(1)
    if line then
      print(line)
      io.stdout:flush()
    elseif why == "eof" then
      return self:wait(60) or 1
    end
  end
end

-- Writes to its standard input. nil, "eof" when it no longer reads.
function process:write(text)
  local state = ask("write", self.number, text)
  if state == "ok" then return true end
  return nil, state
end

function process:close_input()
  ask("close", self.number)
end

-- "TERM", "KILL", "STOP", "CONT", ...; to this process alone. nil, "eof" when it has ended.
function process:signal(name)
  local state = ask("signal", self.number, name)
  if state == "ok" then return true end
  return nil, state
end

-- Its exit code, 128 + n after signal n; nil, "timeout".
function process:wait(timeout)
  local state, code = ask("wait", self.number, timeout or 10)
  if state ~= "ok" then return nil, state end
  code = tonumber(code)
  return code < 0 and 128 - code or code
end

function process:alive()
  return not self.stopped and self:wait(0) == nil
end

-- Ends it (TERM, after `grace` seconds KILL) with all its descendants. Harmless when called again.
function process:stop(grace)
  if self.stopped then return end
  self.stopped = true
  ask("stop", self.number, grace or 3)
end

-- Whole contents of a file, or nil.
function rig.read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end

function rig.write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  file:close()
end

return rig
