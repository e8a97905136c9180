-- ngx_pump.lua: what nginx needs in each worker beside its requests: one coroutine that hears of events, one timer that
-- keeps it company and is told when the worker ends, and a place for callbacks to run.
--
-- Nginx can only read sockets that it has connected itself, so the clients of a worker send a byte through a private
-- unix socket, the link, whenever they have events. A byte now and then (nginx logs an error for a read that times out)
-- comes from the timer. Both end when nothing is held or waited for, so that a Lua state that nobody uses any
-- more (lua_code_cache off makes one for each request) can go.

local core = require "dsync.core"
local dispatch = require "dsync.dispatch"

local next, pairs, pcall, select, setmetatable = next, pairs, pcall, select, setmetatable
local tostring, unpack = tostring, unpack
local ngx = require "ngx"
local now = core.now

local pump = {
  --- Seconds that a worker which shuts down gives the holders of locks to release them before they are taken away.
  grace = 0.5,
  period = 10, -- seconds between two looks of the timer
}

local NEVER_MS = 2147483647

local attached = {} -- set of handles
local clients = setmetatable({}, { __mode = "k" })
local link -- while there is somebody to read it
local connected = false
local ending = false -- the reader shall end when it can
local ticking = false
local exiting = false

local function log(message)
  ngx.log(ngx.ERR, "dsync: ", message)
end

--- Whether this worker is shutting down.
function pump.is_exiting()
  return exiting or ngx.worker.exiting()
end

----------------------------------------------------------------------------------------------------------- callbacks

local tasks = {} -- what shall run, in order
local scheduled_at -- when a timer was asked to run them

-- Each in a light thread of its own, in a request of its own: what a request has spawned it would have to wait for, and
-- the reader would keep a record of every one for as long as it lives.
local function run_tasks()
  scheduled_at = nil
  local list = tasks
  tasks = {}
  for i = 1, #list do
    local task = list[i]
    ngx.thread.spawn(task.fn, unpack(task, 1, task.n))
  end
end

-- A timer can be lost (lua_max_running_timers): then the next call tries again.
local function schedule_tasks()
  if not tasks[1] or scheduled_at and now() - scheduled_at < 1 then
    return
  end
  local ok, problem = ngx.timer.at(0, run_tasks)
  if ok then
    scheduled_at = now()
  else
    log("callbacks have to wait: " .. problem)
  end
end

function pump.spawn(fn, ...)
  tasks[#tasks + 1] = { fn = fn, n = select("#", ...), ... }
  schedule_tasks()
end

---------------------------------------------------------------------------------------------------------- the reader

local function ask_clients()
  local list = {}
  for handle in pairs(attached) do
    list[#list + 1] = handle
  end
  for i = 1, #list do
    local handle = list[i]
    if attached[handle] and handle.on_readable() == false then
      handle:close()
    end
  end
  schedule_tasks()
end

local function has_to_read()
  return next(attached) ~= nil or not (ending or exiting)
end

local function connect()
  local socket = ngx.socket.tcp()
  socket:settimeouts(1000, 1000, NEVER_MS)
  local ok, problem = socket:connect("unix:" .. link:path())
  if not ok or not link:accept() then
    return nil, problem or "it was not accepted"
  end
  return socket
end

local function read(socket)
  connected = true
  for handle in pairs(attached) do
    link:attach(handle.core)
  end
  ask_clients()
  while has_to_read() do
    local bytes, problem = socket:receiveany(4096)
    if not bytes and problem ~= "timeout" then
      return nil, problem
    end
    ask_clients()
  end
  socket:close()
  return true
end

local start -- the reader

local function run_reader()
  local socket, problem = connect()
  local ok = socket ~= nil
  if socket then
    local ran, result, why = pcall(read, socket)
    ok, problem = ran and result, why or result
  end
  connected = false
  for handle in pairs(attached) do
    link:detach(handle.core)
  end
  link:close()
  link = nil
  if not ok then
    log("lost the link to the clients of this worker: " .. tostring(problem))
  end
end

function start()
  local message, code
  ending = false
  if link then
    return true
  end
  link, message, code = core.link()
  if not link then
    return nil, message, code
  end
  local ok, problem = ngx.timer.at(0, run_reader)
  if not ok then
    link:close()
    link = nil
    return nil, "no timer to read events from: " .. problem, "resource"
  end
  return true
end

------------------------------------------------------------------------------------------------- the timer, and the end

-- A lock whose release is under way is not held any more, but is being cleaned up until the server has confirmed it.
local function anything_held()
  for client in pairs(clients) do
    local stats = client:stats()
    if stats.held > 0 or stats.entries > 0 or stats.cleaning > 0 then
      return true
    end
  end
  return false
end

local function is_used()
  return next(attached) ~= nil or tasks[1] ~= nil or anything_held()
end

-- Whoever waits is told so at once, whoever holds gets a moment, then everything is closed: the threads of the clients
-- finish it while nginx ends the process.
local function shut_down()
  exiting = true
  pump.on_exit()
  local limit = now() + pump.grace
  while anything_held() and now() < limit do
    ngx.sleep(0.02)
  end
  for client in pairs(clients) do
    client:__close()
    dispatch.pump(client)
  end
  if link then
    link:beat()
  end
end

local arm

local function tick(premature)
  ticking = false
  if premature or ngx.worker.exiting() then
    return shut_down()
  end
  schedule_tasks()
  if not is_used() then
    ending = true
  else
    if next(attached) and not link then
      start()
    end
    arm()
  end
  if link then
    link:beat()
  end
end

function arm()
  if ticking or pump.is_exiting() then
    return
  end
  local ok, problem = ngx.timer.at(pump.period, tick)
  if ok then
    ticking = true
  else
    log("cannot notice the end of this worker: " .. problem)
  end
end

--------------------------------------------------------------------------------------------------------- descriptors

local Handle = {}
Handle.__index = Handle

function Handle:close()
  if attached[self] then
    attached[self] = nil
    if connected then
      link:detach(self.core)
    end
  end
end

function pump.attach(_, on_readable, core_client)
  local ok, message, code = start()
  if ok and connected then
    ok, message, code = link:attach(core_client)
  end
  if not ok then
    return nil, message, code
  end
  arm()
  local handle = setmetatable({ core = core_client, on_readable = on_readable }, Handle)
  attached[handle] = true
  return handle
end

function pump.opened(client)
  clients[client] = true
end

return pump
