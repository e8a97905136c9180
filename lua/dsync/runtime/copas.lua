-- copas.lua: the adapter for copas, from Debian's 1.x to 4.x.
--
-- Copas 1.x knows sockets only: it has no timers and cannot wake a coroutine. So all descriptors and the earliest
-- deadline sit behind one descriptor of ours, which one coroutine of copas reads as if it were a socket. That coroutine
-- ends when nothing is waited for, so that copas.loop() can return.

local copas = require "copas"
local core = require "dsync.core"
local plain = require "dsync.runtime.plain"
local protect = require "dsync.protect"
local scheduler = require "dsync.scheduler"
local timers = require "dsync.timers"

local coroutine, max, min, next, pairs, setmetatable = coroutine, math.max, math.min, next, pairs, setmetatable
local select, unpack = select, table.unpack or unpack
local now = core.now

local adapter = { name = "copas", now = now }

local LOOK_AGAIN = 5 -- seconds after which a client is asked whether it is still there

-- Whether the running coroutine can yield to copas.
local function in_coroutine()
  local co, is_main = coroutine.running()
  return co ~= nil and not is_main and not scheduler.in_task()
end

function adapter.can_wait()
  return true
end

function adapter.parks()
  return in_coroutine() or plain.parks()
end

function adapter.settle()
  if not in_coroutine() then
    plain.settle()
  end
end

------------------------------------------------------------------------------------------- parking, and going on again

local park, resume

if copas.wakeup then
  local doze = copas.pauseforever or function()
    copas.sleep(-1)
  end

  function park(waiter)
    waiter.co = protect.outermost((coroutine.running()))
    doze()
  end

  function resume(waiter)
    copas.wakeup(waiter.co)
  end
else
  -- What a coroutine of copas 1.x yields, with the queue that copas shall put it into: one that only remembers it.
  local parked = { insert = function() end }

  function parked.push(_, waiter, co)
    waiter.co = co
  end

  function park(waiter)
    coroutine.yield(waiter, parked)
  end

  function resume(waiter)
    copas.addthread(waiter.co) -- resumes one that has begun as well
  end
end

--------------------------------------------------------------------------------------------------------- the one reader

local poller -- of all descriptors and of the deadline
local attached = {} -- descriptor -> handle
local clock = timers.new()
local waiting = {} -- luacheck: ignore 241 (waiters: copas may not hold their coroutines, which would be collected)
local woken = {} -- waiters to resume
local reading = false

local function set_alarm()
  local seconds = clock:next() and max(0, clock:next() - now())
  if woken[1] or not (seconds or next(attached)) then
    seconds = 0 -- the reader shall look now, if only to end
  end
  poller:alarm(min(seconds or LOOK_AGAIN, LOOK_AGAIN))
end

local function ask_clients()
  local handles = {}
  for _, handle in pairs(attached) do
    handles[#handles + 1] = handle
  end
  for i = 1, #handles do
    local handle = handles[i]
    if attached[handle.fd] == handle and handle.on_readable() == false then
      handle:close()
    end
  end
end

local function wake_due()
  local waiter = clock:take_due(now)
  while waiter do
    woken[#woken + 1] = waiter
    waiter = clock:take_due(now)
  end
  local list = woken
  woken = {}
  for i = 1, #list do
    if list[i].parked then
      list[i].parked = false
      resume(list[i])
    end
  end
end

-- Looks like a socket to copas and to the select of LuaSocket. It is read when it was found readable, every other time.
local source = { ready = true }

function source.getfd()
  return poller:fd()
end

function source.dirty()
  return false
end

function source.close() end -- copas 1.x closes what a coroutine read last when that coroutine ends

function source:receive()
  self.ready = not self.ready
  if self.ready then
    return "x"
  end
  return nil, "timeout", ""
end

local function read()
  while next(attached) or clock:next() or woken[1] do
    set_alarm()
    copas.receive(source, 1)
    ask_clients()
    wake_due()
  end
  reading = false
end

-- True, or nil, message, code.
local function ensure_reader()
  if not poller then
    local message, code
    poller, message, code = core.poller()
    if not poller then
      return nil, message, code
    end
  end
  if reading then
    set_alarm()
  else
    reading = true
    copas.addthread(read)
  end
  return true
end

-------------------------------------------------------------------------------------------------- coroutines, waiters

function adapter.spawn(fn, ...)
  if not in_coroutine() then
    return plain.spawn(fn, ...)
  end
  local count, arguments = select("#", ...), { ... }
  local function run()
    fn(unpack(arguments, 1, count))
  end
  if copas.wakeup then
    copas.addthread(run)
  else -- would run it at once
    woken[#woken + 1] = { parked = true, co = coroutine.create(run) }
    ensure_reader()
  end
end

local Waiter = {}
Waiter.__index = Waiter

function Waiter:wait(timeout)
  local deadline = timeout and now() + timeout
  while not self.woken and not (deadline and now() >= deadline) do
    local timer = deadline and clock:add(deadline, self)
    self.parked = true
    waiting[self] = true
    if timer then
      ensure_reader()
    end
    park(self)
    self.parked = false
    waiting[self] = nil
    if timer then
      clock:remove(timer)
    end
  end
  local was_woken = self.woken
  self.woken = false
  return was_woken
end

function Waiter:wake()
  self.woken = true
  if self.parked then
    woken[#woken + 1] = self
    ensure_reader()
  end
end

function adapter.waiter()
  if not in_coroutine() then
    return plain.waiter()
  end
  return setmetatable({ woken = false, parked = false }, Waiter)
end

--------------------------------------------------------------------------------------------------------- descriptors

local Handle = {}
Handle.__index = Handle

-- Tasks of dsync.run turn a loop of their own.
function Handle:follow()
  if plain.parks() and not self.plain then
    self.plain = scheduler.attach(self.fd, self.on_readable)
  end
end

function Handle:close()
  if attached[self.fd] == self then
    attached[self.fd] = nil
    poller:remove(self.fd)
    set_alarm()
  end
  if self.plain then
    self.plain.close()
    self.plain = nil
  end
end

function adapter.attach(get_fd, on_readable)
  local fd, message, code = get_fd()
  if not fd then
    return nil, message, code
  end
  local handle = setmetatable({ fd = fd, on_readable = on_readable }, Handle)
  attached[fd] = handle
  local ok
  ok, message, code = ensure_reader()
  if ok then
    ok, message, code = poller:add(fd)
  end
  if not ok then
    attached[fd] = nil
    return nil, message, code
  end
  handle:follow()
  return handle
end

return adapter
