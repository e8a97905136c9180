-- What must hold in every runtime: cases that are run inside event loops and inside workers of nginx alike.
--
-- A case is {name = , run = function(env)}; it raises when something is wrong. It runs in a coroutine of the runtime
-- and knows it by `env` only:
--   env.dsync, env.runtime (the adapter's name), env.open(options) -> client, env.sleep(seconds), env.spawn(fn),
--   env.name(stem), env.crowd (how many wait at once), env.server_pid (nil where no server can be stopped)
-- Nothing here needs busted: a worker of nginx has none.

local cases = {}

local protect = require "dsync.protect" -- its call() lets the function wait, on Lua 5.1 too

local unpack = table.unpack or unpack -- luacheck: globals unpack

local function check(value, message, code)
  if value == nil or value == false then
    error(("expected success, got %s: %s"):format(tostring(code), tostring(message)), 2)
  end
  return value, message, code
end

local function equal(expected, got)
  if expected ~= got then
    error(("expected %s, got %s"):format(tostring(expected), tostring(got)), 2)
  end
end

local function fails(code, value, message, got)
  if value ~= nil then error("expected code " .. code .. ", got a result: " .. tostring(value), 2) end
  if got ~= code then error(("expected code %s, got %s: %s"):format(code, tostring(got), tostring(message)), 2) end
end

local function between(low, high, value)
  if not (value >= low and value <= high) then
    error(("%.3f is not between %.3f and %.3f"):format(value, low, high), 2)
  end
end

local function now()
  return require("dsync.core").now()
end

-- Polls in the way of the runtime, so that others run.
local function eventually(env, what, fn)
  local limit = now() + 60
  while true do
    local value = fn()
    if value then return value end
    if now() > limit then error("did not happen in time: " .. what, 2) end
    env.sleep(0.01)
  end
end

-- fn in a coroutine of its own; join() returns its results or raises its error.
local function start(env, fn)
  local task = {}
  env.spawn(function()
    task.results = { protect.call(fn) }
  end)
  function task.join()
    eventually(env, "end of a coroutine", function() return task.results end)
    if not task.results[1] then error(task.results[2], 0) end
    return unpack(task.results, 2, 5)
  end
  return task
end

-- A coroutine that counts, to see whether the loop goes on; returns how often it counted.
local function ticker(env)
  local state = { count = 0, stop = false }
  env.spawn(function()
    while not state.stop and not env.over do
      state.count = state.count + 1
      env.sleep(0.005)
    end
  end)
  return state
end

local function until_waiting(env, client, count)
  eventually(env, count .. " waiters", function() return client:stats().waiting >= count end)
end

local function case(name, run)
  cases[#cases + 1] = { name = name, run = run }
end

case("the adapter is chosen by itself", function(env)
  equal(env.runtime, env.open():options().runtime)
end)

case("a lock is acquired and released", function(env)
  local lock = env.open():lock(env.name())
  equal(lock, check(lock:acquire()))
  equal(true, lock:held())
  check(lock:token() > 0)
  check(lock:release())
  fails("not_held", lock:release())
end)

case("waiting lets the others run, and ends when it is our turn", function(env)
  local a, b, name = env.open(), env.open(), env.name()
  local first = check(a:lock(name):acquire())
  local second = start(env, function() return b:lock(name):acquire() end)
  until_waiting(env, b, 1)
  local ticks = ticker(env)
  env.sleep(0.2)
  equal(nil, second.results)
  check(ticks.count > 1, "the loop stood still")
  check(first:release())
  check(check(second.join()):release())
  ticks.stop = true
end)

case("a wait ends when its time is over", function(env)
  local a, b, name = env.open(), env.open(), env.name()
  local lock = check(a:lock(name):acquire())
  local began, ticks = now(), ticker(env)
  fails("timeout", b:lock(name):acquire { wait = 0.3 })
  between(0.3, 3, now() - began)
  check(ticks.count > 1, "the loop stood still")
  ticks.stop = true
  fails("contended", b:lock(name):try())
  began = now()
  fails("timeout", lock:revoked(0.2))
  between(0.2, 3, now() - began)
  began = now()
  local watcher = check(a:watch { name = env.name() })
  check(watcher:next(5)) -- "vacant"
  fails("timeout", watcher:next(0.2))
  between(0.2, 3, now() - began)
  watcher:close()
  check(lock:release())
end)

case("a crowd waits at once, and everybody gets a turn in order", function(env)
  local a, b, name = env.open(), env.open(), env.name()
  local first = check(a:lock(name):acquire())
  local begun, order, inside, failure = {}, {}, 0, nil
  for i = 1, env.crowd do
    env.spawn(function()
      begun[#begun + 1] = i
      local lock, message = b:lock(name):acquire()
      if not lock then
        failure = message
        return
      end
      inside = inside + 1
      if inside ~= 1 then failure = "two hold it" end
      order[#order + 1] = i
      inside = inside - 1
      local ok, why = lock:release()
      if not ok then failure = why end
    end)
  end
  until_waiting(env, b, env.crowd)
  check(first:release())
  eventually(env, "everybody's turn", function() return failure or #order == env.crowd end)
  equal(nil, failure)
  for i = 1, env.crowd do equal(begun[i], order[i]) end
end)

case("a crowd that waits for different locks times out together", function(env)
  local a, b, stem = env.open(), env.open(), env.name()
  local count, over, failure = math.floor(env.crowd / 10), 0, nil
  local locks = {}
  for i = 1, count do locks[i] = check(a:lock(stem .. i):acquire()) end
  for i = 1, count do
    env.spawn(function()
      local began = now()
      local _, message, code = b:lock(stem .. i):acquire { wait = 0.5 }
      if code ~= "timeout" then failure = tostring(message) end
      if now() - began > 8 then failure = "too late" end
      over = over + 1
    end)
  end
  eventually(env, "all timeouts", function() return over == count end)
  equal(nil, failure)
  for i = 1, count do check(locks[i]:release()) end
end)

case("a revoked callback runs by itself and may wait", function(env)
  local a, b, name = env.open(), env.open(), env.name()
  local lock = check(a:lock(name):acquire())
  local said, after
  lock:on_revoked(function(one, reason)
    equal(lock, one)
    said = reason
    env.sleep(0.02)
    local other = check(b:acquire(env.name("other")))
    check(other:release())
    after = true
  end)
  check(b:break_lock(name, { token = lock:token() }))
  eventually(env, "the callback's end", function() return after end)
  equal("broken", said)
  equal(false, lock:held())
end)

case("revoked() waits for the loss", function(env)
  local a, b, name = env.open(), env.open(), env.name()
  local lock = check(a:lock(name):acquire())
  local waiting = start(env, function() return lock:revoked() end)
  env.sleep(0.05)
  equal(nil, waiting.results)
  check(b:break_lock(name, { token = lock:token() }))
  equal("broken", waiting.join())
end)

case("a canceller ends a wait from another coroutine", function(env)
  local a, b, name = env.open(), env.open(), env.name()
  local lock = check(a:lock(name):acquire())
  local cancel = env.dsync.canceller()
  local waiting = start(env, function() return b:lock(name):acquire { cancel = cancel } end)
  until_waiting(env, b, 1)
  cancel:cancel()
  fails("cancelled", waiting.join())
  equal(0, b:stats().waiting)
  check(lock:release())
end)

case("closing wakes whoever waits, and does not stop the loop", function(env)
  local a, b, name = env.open(), env.open(), env.name()
  local lock = check(a:lock(name):acquire())
  local mine = check(b:acquire(env.name "mine"))
  local watcher = check(b:watch { name = env.name() })
  check(watcher:next(5))
  local reason
  mine:on_revoked(function(_, why) reason = why end)
  local waits = {
    start(env, function() return b:lock(name):acquire() end),
    start(env, function() return watcher:next() end),
  }
  local revoked = start(env, function() return mine:revoked() end)
  until_waiting(env, b, 1)
  env.sleep(0.02)
  check(b:close())
  for i = 1, #waits do fails("closed", waits[i].join()) end
  equal("closed", revoked.join())
  eventually(env, "the callback", function() return reason end)
  equal("closed", reason)
  fails("closed", b:lock(name):acquire { wait = 1 })
  check(a:acquire(env.name "again")):release()
  check(lock:release())
end)

case("with_lock's function may wait, and fail", function(env)
  local a, name = env.open(), env.name()
  equal("done", a:with_lock(name, function(lock)
    env.sleep(0.01)
    equal(true, lock:held())
    return "done"
  end))
  local thrown = {}
  local ok, got = protect.call(a.with_lock, a, name, function() error(thrown) end)
  equal(false, ok)
  equal(thrown, got)
  check(check(a:lock(name):try()):release())
end)

case("an iterator waits like everything else", function(env)
  local a, b, name = env.open(), env.open(), env.name()
  local seen, ticks = {}, ticker(env)
  local watcher = check(a:watch { name = name })
  local following = start(env, function()
    local function note(event)
      seen[#seen + 1] = event.type
      return event.type == "elected"
    end
    if _VERSION == "Lua 5.1" and not rawget(_G, "jit") then
      repeat until note(check(watcher:next()))
    else
      for event in watcher do
        if note(event) then break end
      end
    end
  end)
  eventually(env, "the first event", function() return seen[1] end)
  equal("vacant", seen[1])
  local elected = check(b:leader(name, { id = "b" }):elect())
  following.join()
  equal("elected", seen[#seen])
  watcher:close()
  check(elected:resign())
  check(ticks.count > 0)
  ticks.stop = true
end)

case("keep and run go on until they are stopped", function(env)
  local a, b, name = env.open(), env.open(), env.name()
  local gained, lost, running = 0, 0, nil
  local keeping = start(env, function()
    return a:lock(name):keep {
      retry_interval = 0.05,
      on_acquired = function(_, run)
        gained, running = gained + 1, run
      end,
      on_revoked = function() lost = lost + 1 end,
    }
  end)
  eventually(env, "the first hold", function() return gained == 1 end)
  check(b:break_lock(name, { token = check(b:lock(name):holder()).token }))
  eventually(env, "the second hold", function() return gained == 2 and lost == 1 end)
  running:stop()
  equal(true, keeping.join())
  local role, leader
  local ruling = start(env, function()
    return a:leader(name):run {
      on_elected = function(_, run) role = run end,
      on_leader = function(who) leader = who end,
    }
  end)
  eventually(env, "the election", function() return role and leader end)
  role:stop()
  equal(true, ruling.join())
end)

case("a held lock that is garbage is released", function(env)
  local events, name = {}, env.name()
  local a = env.open { on_event = function(event) events[event.type] = event.message end }
  local b = env.open()
  check(a:lock(name):acquire()) -- and nobody remembers it
  eventually(env, "the collection", function()
    collectgarbage()
    local lock = b:lock(name):try()
    if lock then check(lock:release()) end
    return lock
  end)
  a:dispatch(0.05)
  eventually(env, "the event", function() return events.collected end)
end)

case("a client that nobody closed is collected", function(env)
  local name = env.name()
  local b = env.open()
  check(env.open_loose():acquire(name)) -- and nobody remembers either
  eventually(env, "the collection", function()
    collectgarbage()
    local lock = b:lock(name):try()
    if lock then check(lock:release()) end
    return lock
  end)
end)

case("a silent server costs the lock in time, and only that", function(env)
  if not env.server_pid then return end
  local a, name = env.open { ttl = 2 }, env.name()
  local lock, reason = check(a:lock(name):acquire()), nil
  lock:on_revoked(function(_, why) reason = why end)
  local ticks, began = ticker(env), now()
  env.signal_server "STOP"
  local ok, failure = protect.call(function()
    local waited = lock:revoked(10)
    equal("expired", waited)
    between(0.5, 8, now() - began)
    equal(false, lock:held())
    check(ticks.count > 2, "the loop stood still")
    eventually(env, "the callback", function() return reason end)
  end)
  env.signal_server "CONT"
  if not ok then error(failure, 0) end
  ticks.stop = true
  check(check(a:lock(name):acquire { wait = 20 }):release())
end)

-- Runs one case on clients of its own, which are closed afterwards. Raises what is wrong.
function cases.run(one, env)
  local opened, own = {}, {}
  setmetatable(own, { __index = env })
  function own.open(options)
    local client = check(env.open_loose(options))
    opened[#opened + 1] = client
    return client
  end
  local ok, failure = protect.call(one.run, own)
  own.over = true
  for i = #opened, 1, -1 do opened[i]:close() end
  if not ok then error(failure, 0) end
end

return cases
