-- scheduler.lua: a small scheduler of coroutines, so that many of them can wait at once in plain Lua.
--
-- A task is a coroutine that parks in waiter:wait() and is resumed when somebody wakes the waiter or its time is over.
-- turn() runs what is ready and then polls the attached descriptors. Whoever blocks outside a task keeps turning, so
-- tasks go on meanwhile. There is one scheduler per Lua state; it knows nothing of locks.

local core = require "dsync.core"
local protect = require "dsync.protect"
local timers = require "dsync.timers"

local coroutine, error, pairs, pcall, select = coroutine, error, pairs, pcall, select
local rawequal, setmetatable, type = rawequal, setmetatable, type
local traceback = debug.traceback
local min, max = math.min, math.max
local unpack = table.unpack or unpack
local now, poll = core.now, core.poll

local scheduler = {}

local slice = 0.1 -- longest single poll: how late a signal's Lua hook can run
local GRACE = 2 -- seconds that tasks get to wind up when dsync.run ends with an error
local MAX_DEPTH = 16 -- turns within turns: what blocks in a foreign coroutine of a task blocks on top of that task

local PARK, STOP = {}, {}

local tasks = setmetatable({}, { __mode = "k" }) -- coroutine -> task
local ready, first, last = {}, 1, 0
local parked = {} -- waiters that a task is parked in
local attached = {} -- list of handles
local alive = 0 -- tasks that have not ended
local depth = 0
local clock = timers.new()

local function push(task, signal)
  last = last + 1
  ready[last] = task
  task.signal = signal
end

------------------------------------------------------------------------------------------------------------- waiters

local Waiter = {}
Waiter.__index = Waiter

local function block(waiter, timeout)
  local deadline = timeout and now() + timeout
  local function is_over()
    return waiter.woken
  end
  local left = timeout -- even if it is 0, one turn looks at the descriptors
  while not waiter.woken do
    scheduler.turn(left, is_over)
    left = deadline and deadline - now()
    if left and left <= 0 then
      return
    end
  end
end

-- yield(waiter, ...) yields the rest. Lua 5.4 can close a coroutine that is parked: there the waiter is told.
local function yield(_, ...)
  return coroutine.yield(...)
end
if coroutine.close then
  yield = load [[return function(waiter, ...)
    local parked <close> = waiter
    return coroutine.yield(...)
  end]]()
end

function Waiter:__close()
  if parked[self] then -- nobody has woken it
    parked[self] = nil
    push(self.task) -- resume() sees that it is over
  end
end

local function park(waiter, task, timeout)
  waiter.task = task
  parked[waiter] = true
  local timer = timeout and clock:add(now() + timeout, waiter)
  local signal = yield(waiter, PARK)
  parked[waiter] = nil
  if timer then
    clock:remove(timer)
  end
  if rawequal(signal, STOP) then
    error("dsync.run has ended", 0)
  end
end

--- Waits until wake() was called, at most `timeout` seconds (nil: for ever). Whether it was. A wake() before counts.
function Waiter:wait(timeout)
  if not self.woken then
    local task = tasks[coroutine.running()]
    if task then
      park(self, task, timeout)
    else
      -- A turn can be left through an error (Ctrl-C): the depth is put right here.
      local saved = depth
      depth = depth + 1
      local ok, message = pcall(block, self, timeout)
      depth = saved
      if not ok then
        error(message, 0)
      end
    end
  end
  local woken = self.woken
  self.woken = false
  return woken
end

function Waiter:wake()
  self.woken = true
  if parked[self] then
    parked[self] = nil
    push(self.task)
  end
end

--- `interrupt`, if the owner sets it, is called instead of waking the waiter when dsync.run ends with an error.
function scheduler.waiter()
  return setmetatable({ woken = false }, Waiter)
end

--------------------------------------------------------------------------------------------------------------- tasks

-- A new coroutine of `task` counts as the task itself (Lua 5.1 needs one for each protected call).
function protect.adopt(inner, outer)
  if outer then
    tasks[inner] = tasks[outer]
  end
end

local function finish(task, ok, ...)
  if coroutine.status(task.co) ~= "dead" then
    if not rawequal((...), PARK) then
      push(task) -- a bare coroutine.yield(): the others' turn
    end
    return
  end
  alive = alive - 1
  tasks[task.co] = nil
  if ok then
    task.results = { n = select("#", ...), ... }
  else
    local message = ...
    task.failure = { type(message) == "string" and traceback(task.co, message) or message }
  end
  if task.ended then
    task.ended(task)
  end
end

local function resume(task)
  local signal = task.signal
  task.signal = nil
  if coroutine.status(task.co) == "dead" then
    finish(task, true) -- closed by somebody
  elseif task.arguments then
    local arguments = task.arguments
    task.arguments = nil
    finish(task, coroutine.resume(task.co, unpack(arguments, 1, arguments.n)))
  else
    finish(task, coroutine.resume(task.co, signal))
  end
end

-- A coroutine can only be made of a function.
local function as_function(fn)
  return type(fn) == "function" and fn or function(...)
    return fn(...)
  end
end

--- A task that runs fn(...) at the next turn. ended(task) is called when it is over: task.results or task.failure.
function scheduler.spawn(ended, fn, ...)
  local task = { co = coroutine.create(as_function(fn)), ended = ended, arguments = { n = select("#", ...), ... } }
  tasks[task.co] = task
  alive = alive + 1
  push(task)
  return task
end

--- Whether the running coroutine is a task.
function scheduler.in_task()
  return tasks[coroutine.running()] ~= nil
end

--- Whether there are tasks.
function scheduler.busy()
  return alive > 0
end

--------------------------------------------------------------------------------------------------------------- turns

--- Calls on_readable() in every turn in which `fd` is readable, until the handle is closed or it returns false.
function scheduler.attach(fd, on_readable)
  local handle = { fd = fd, on_readable = on_readable }
  attached[#attached + 1] = handle
  function handle.close()
    handle.on_readable = nil
    for i = 1, #attached do
      if attached[i] == handle then
        table.remove(attached, i)
        break
      end
    end
  end
  return handle
end

local function run_ready()
  local stop = last -- what becomes ready meanwhile waits for the next turn
  while first <= stop do
    local task = ready[first]
    ready[first] = nil
    first = first + 1
    if tasks[task.co] then
      resume(task)
    end
  end
end

local function poll_attached(seconds)
  local handles, fds = {}, {}
  for i = 1, #attached do
    handles[i], fds[i] = attached[i], attached[i].fd
  end
  local readable = poll(fds, seconds)
  for i = 1, readable and #handles or 0 do
    local handle = handles[i]
    if readable[i] and handle.on_readable and handle.on_readable() == false then
      handle.close()
    end
  end
end

local function fire_timers()
  local waiter = clock:take_due(now)
  while waiter do
    if parked[waiter] then
      parked[waiter] = nil
      push(waiter.task)
    end
    waiter = clock:take_due(now)
  end
end

--- For a program that reads its signals from a descriptor: nothing needs it to wake up more often than this.
function scheduler.slice(seconds)
  slice = seconds
end

--- Runs what is ready, then waits for descriptors and timers, at most `limit` seconds (nil: one slice), unless
--- is_over() says that there is nothing more to wait for.
function scheduler.turn(limit, is_over)
  if depth <= MAX_DEPTH then
    run_ready()
  end
  if is_over() then
    return
  end
  local seconds = min(limit or slice, slice)
  if first <= last and depth <= MAX_DEPTH then
    seconds = 0
  elseif clock:next() then
    seconds = max(0, min(seconds, clock:next() - now()))
  end
  poll_attached(seconds)
  fire_timers()
end

-- Runs what is ready without waiting for anything: for callbacks, outside tasks.
function scheduler.settle()
  if first <= last and not scheduler.in_task() and depth <= MAX_DEPTH then
    local saved = depth
    depth = depth + 1
    local ok, message = pcall(run_ready)
    depth = saved
    if not ok then
      error(message, 0)
    end
  end
end

----------------------------------------------------------------------------------------------------------------- run

local function turn_until(is_over)
  while not is_over() do
    scheduler.turn(nil, is_over)
  end
end

local function waiting_now()
  local list = {}
  for waiter in pairs(parked) do
    list[#list + 1] = waiter
  end
  return list
end

-- After an error: what tasks wait for is cancelled, then they get some time to wind up, then their waits raise; a task
-- that parks even so is dropped.
local function wind_up()
  for _, waiter in pairs(waiting_now()) do
    local end_wait = waiter.interrupt or waiter.wake
    end_wait(waiter)
  end
  local deadline = now() + GRACE
  local ok, message = pcall(turn_until, function()
    return alive == 0 or now() >= deadline
  end)
  for _, waiter in pairs(waiting_now()) do
    parked[waiter] = nil
    push(waiter.task, STOP)
  end
  if ok then
    run_ready()
  end
  for co in pairs(tasks) do
    tasks[co] = nil
  end
  ready, first, last, parked, alive = {}, 1, 0, {}, 0
  clock = timers.new()
  if not ok then
    error(message, 0)
  end
end

local current_failure -- of a task of the present run

--- Runs fn(...) and everything spawned meanwhile to its end; fn's results. An error in fn or in a spawned task ends the
--- run with that error and its traceback. Inside a run it just calls fn.
function scheduler.run(fn, ...)
  if depth > 0 or scheduler.in_task() then
    return fn(...)
  end
  current_failure = nil
  local main = scheduler.spawn(scheduler.ended_in_run, fn, ...)
  depth = 1
  local ok, message = pcall(turn_until, function()
    return alive == 0 or current_failure ~= nil
  end)
  local failure = current_failure
  if not ok or failure then
    local wound_up, other = pcall(wind_up)
    ok, message = ok and wound_up, wound_up and message or other
  end
  depth = 0
  if not ok then
    error(message, 0)
  elseif failure then
    error(failure[1], 0)
  end
  return unpack(main.results, 1, main.results.n)
end

function scheduler.ended_in_run(task)
  if task.failure and not current_failure then
    current_failure = task.failure
  end
end

--- Whether a run is going on.
function scheduler.running()
  return depth > 0
end

return scheduler
