-- The event loops that the shared cases run in, outside of nginx: how each is entered, sleeps and spawns.
--
-- runtimes[name] = {module = what has to be there, enter(fn) -> runs fn in a coroutine of the loop until it returns}

local dsync = require "dsync"
local protect = require "dsync.protect"

local runtimes = {}

-- What becomes of fn, caught inside the loop and raised outside of it.
local function catching(fn)
  local outcome = {}
  return outcome, function()
    outcome.ok, outcome.failure = protect.call(fn)
    outcome.over = true
  end
end

local function conclude(outcome)
  if not outcome.over then error("the loop ended before the case did", 0) end
  if not outcome.ok then error(outcome.failure, 0) end
end

runtimes.plain = {
  auto = true,
  enter = function(fn) dsync.run(fn) end,
  sleep = dsync.sleep,
  spawn = dsync.spawn,
}

runtimes.cqueues = {
  module = "cqueues",
  auto = true,
  enter = function(fn)
    local cq = require("cqueues").new()
    local outcome, body = catching(fn)
    cq:wrap(body)
    local limit = os.time() + 120
    repeat
      local ok, message = cq:step(1)
      if not ok then error(message, 0) end
    until cq:empty() or os.time() > limit
    conclude(outcome)
    if not cq:empty() then error("the controller does not run empty", 0) end
  end,
  sleep = function(seconds) require("cqueues").sleep(seconds) end,
  spawn = function(fn) require("cqueues").running():wrap(fn) end,
}

runtimes.luv = {
  module = "luv",
  auto = true,
  enter = function(fn)
    local uv = require "luv"
    local outcome, body = catching(fn)
    local starter = uv.new_timer()
    starter:start(0, 0, function()
      starter:close()
      coroutine.wrap(body)()
    end)
    uv.run()
    conclude(outcome)
  end,
  sleep = function(seconds)
    local co = protect.outermost((coroutine.running()))
    local timer = require("luv").new_timer()
    timer:start(math.ceil(seconds * 1000), 0, function()
      timer:close()
      assert(coroutine.resume(co))
    end)
    coroutine.yield()
  end,
  spawn = function(fn)
    local timer = require("luv").new_timer()
    timer:start(0, 0, function()
      timer:close()
      coroutine.wrap(fn)()
    end)
  end,
}

-- Copas 1.x has no sleep: a canceller that nobody cancels is one.
local function copas_sleep(seconds)
  local copas = require "copas"
  if copas.pause or copas.sleep then
    (copas.pause or copas.sleep)(seconds)
  else
    require("dsync.runtime.copas").waiter():wait(seconds)
  end
end

runtimes.copas = {
  module = "copas",
  auto = false, -- 1.x does not say that it is running
  enter = function(fn)
    local copas = require "copas"
    local outcome, body = catching(fn)
    copas.addthread(body)
    local limit = os.time() + 120
    while not outcome.over and os.time() < limit do copas.step(1) end
    if copas.finished then -- nothing of dsync's keeps copas.loop() going
      for _ = 1, 100 do
        if copas.finished() then break end
        copas.step(0.05)
      end
      assert(copas.finished(), "copas does not finish")
    end
    conclude(outcome)
  end,
  sleep = copas_sleep,
  spawn = function(fn)
    if require("copas").wakeup then
      require("copas").addthread(fn)
    else
      require("dsync.runtime.copas").spawn(fn)
    end
  end,
}

return runtimes
