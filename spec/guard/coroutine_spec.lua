-- Guards inside coroutines, around functions that wait or yield, and inside one another.
local suite = require "spec.support.suite"
local busy = require "spec.support.busy"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

describe("a guard", function()
  local d, name
  before_each(function() d, name = suite.open(), suite.name() end)
  after_each(suite.cleanup)

  it("lets its function yield", function()
    local lock = ok(d:lock(name):acquire())
    local co = coroutine.wrap(function(...)
      return "returned", lock:guard(function(a, b)
        local c = coroutine.yield(a, nil, b)
        local e = coroutine.yield(c)
        return e, nil
      end, ...)
    end)
    assert.same({ 3, 1, nil, 2 }, { 3, co(1, 2) })
    assert.equal("c", co "c")
    local function all(...) return { select("#", ...), ... } end
    assert.same({ 3, "returned", "e", nil }, all(co "e"))
  end)

  it("stops a function in a coroutine", function()
    local lock = busy.doomed(d, name)
    local co = coroutine.create(function() return lock:guard(busy.stubborn) end)
    local good, value, _, code = coroutine.resume(co)
    assert.same({ true, nil, "lost" }, { good, value, code })
    assert.equal("dead", coroutine.status(co))
  end)

  it("stops a function that was elsewhere when the lock was lost as soon as it goes on", function()
    local lock = busy.doomed(d, name)
    local went_on
    local co = coroutine.create(function()
      return lock:guard(function()
        coroutine.yield "away"
        busy.for_ever()
        went_on = true
      end)
    end)
    assert.equal("away", select(2, coroutine.resume(co)))
    busy.work(0.1) -- nobody else is interrupted
    local good, value, _, code = coroutine.resume(co)
    assert.same({ true, nil, "lost" }, { good, value, code })
    assert.is_nil(went_on)
    busy.work(0.01)
    assert.is_nil((debug.gethook()))
  end)

  it("may be left behind", function()
    for _ = 1, 20 do
      local lock = busy.doomed(d, suite.name(), 0.01)
      local co = coroutine.create(function() lock:guard(coroutine.yield) end)
      assert.is_true(coroutine.resume(co))
    end
    collectgarbage()
    busy.work(0.03)
    collectgarbage()
    collectgarbage()
    busy.work(0.01)
    busy.lost(busy.doomed(d, name):guard(busy.for_ever))
  end)

  it("stops only its own function among many", function()
    local stopped, kept = 0, 0
    dsync.run(function()
      for i = 1, 20 do
        dsync.spawn(function()
          local lock = ok(d:lock(suite.name(), { hold = i % 2 == 0 and 0.05 or nil }):acquire())
          local value, _, code = lock:guard(function()
            dsync.sleep(0.2)
            busy.step()
            return "done"
          end)
          if value == "done" then kept = kept + 1 elseif code == "lost" then stopped = stopped + 1 end
        end)
      end
    end)
    assert.equal(10, stopped)
    assert.equal(10, kept)
  end)

  it("ends a wait of its function", function()
    local other = ok(d:lock "taken":acquire())
    for _, wait in ipairs {
      function() dsync.sleep(20) end,
      function() d:lock("taken"):acquire() end,
      function() d:dispatch(20) end,
      function() other:revoked(20) end,
      function() while true do pcall(dsync.sleep, 0.2) end end,
    } do
      for _, run in ipairs { function(fn) return fn() end, dsync.run } do
        local begun = busy.now()
        local lock = busy.doomed(d, suite.name())
        busy.lost(run(function() return lock:guard(function()
          collectgarbage()
          wait()
          busy.for_ever()
        end) end))
        assert.is_true(busy.now() - begun < 10)
      end
    end
    suite.eventually("end of the waits", function() return #ok(d:lock("taken"):waiters()) == 0 end)
    ok(other:release())
  end)

  it("ends a wait for another client", function()
    local begun = busy.now()
    local other = suite.open()
    local held = ok(other:lock(name):acquire())
    local third = suite.open()
    busy.lost(busy.doomed(d, suite.name()):guard(function()
      third:lock(name):acquire()
      busy.for_ever()
    end))
    assert.is_true(busy.now() - begun < 10)
    suite.eventually("end of the wait", function() return #ok(other:lock(name):waiters()) == 0 end)
    ok(held:release())
  end)

  it("does not cut a release short", function()
    local lock, other = busy.doomed(d, name), ok(d:lock(suite.name()):acquire())
    local released
    busy.lost(lock:guard(function()
      pcall(busy.for_ever)
      released = other:release()
    end))
    assert.is_true(released)
  end)

  it("within a guard: the inner lock is lost", function()
    local outer = ok(d:lock(name):acquire())
    local inner = busy.doomed(d, suite.name())
    local a, b = outer:guard(function()
      fails("lost", inner:guard(busy.stubborn))
      busy.work(0.06)
      return "outer", "goes on"
    end)
    assert.same({ "outer", "goes on" }, { a, b })
    assert.is_nil((debug.gethook()))
  end)

  it("within a guard: the outer lock is lost", function()
    local outer = busy.doomed(d, name)
    local inner = ok(d:lock(suite.name()):acquire())
    local caught
    fails("lost", outer:guard(function()
      local good, err = pcall(inner.guard, inner, busy.for_ever)
      assert(not good)
      caught = err
    end))
    assert.equal(outer, caught.lock)
    assert.is_true(inner:held())
    fails("lost", busy.doomed(d, name):guard(function() inner:guard(busy.stubborn) end))
    fails("lost", busy.doomed(d, name):guard(function()
      while true do pcall(inner.guard, inner, busy.stubborn) end
    end))
    assert.is_nil((debug.gethook()))
  end)

  it("within a guard of the same lock, and when both are lost", function()
    local lock = busy.doomed(d, name)
    local inside
    fails("lost", lock:guard(function()
      inside = { pcall(lock.guard, lock, busy.stubborn) }
      busy.stubborn()
    end))
    assert.is_not_true(inside and inside[2])
    local one, two = ok(d:lock(suite.name()):acquire()), ok(d:lock(suite.name()):acquire())
    local closer = busy.doomed(d, suite.name())
    fails("lost", one:guard(function()
      two:guard(function()
        fails("lost", closer:guard(busy.for_ever))
        d:close()
        busy.stubborn()
      end)
    end))
    assert.is_nil((debug.gethook()))
  end)

  it("reaches into with_lock", function()
    local lock = busy.doomed(d, name)
    local second = suite.name()
    busy.lost(lock:guard(function()
      d:with_lock(second, function() busy.stubborn() end)
    end))
    ok(ok(d:lock(second):acquire { wait = suite.patience }):release())
    local function deep(level)
      return d:with_lock(suite.name(), function() if level > 0 then deep(level - 1) else busy.for_ever() end end)
    end
    busy.lost(busy.doomed(d, name):guard(deep, 3))
    busy.lost(busy.doomed(d, name):guard(function()
      d:with_lock(suite.name(), function() end)
      busy.for_ever()
    end))
  end)

  it("stops when control comes back from a coroutine that it cannot reach", function()
    local lock = busy.doomed(d, name)
    busy.lost(lock:guard(function()
      while true do coroutine.wrap(busy.work)(0.02) end
    end))
    assert.is_nil((debug.gethook()))
  end)
end)
