-- dsync.run and dsync.spawn: many coroutines of one plain Lua program wait at once.
local suite = require "spec.support.suite"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

describe("dsync.run", function()
  after_each(suite.cleanup)

  it("runs a function with its arguments and returns its results", function()
    local a, b, c = dsync.run(function(x, y) return y, x, nil end, 1, 2)
    assert.same({ 2, 1 }, { a, b, c })
  end)

  it("lets a function wait before it returns", function()
    assert.equal("after", dsync.run(function()
      dsync.sleep(0.01)
      return "after"
    end))
  end)

  it("rethrows an error as it is", function()
    local thrown = {}
    local good, err = pcall(dsync.run, function()
      dsync.sleep(0.001)
      error(thrown)
    end)
    assert.is_false(good)
    assert.equal(thrown, err)
  end)

  it("waits for a descriptor, while others go on", function()
    local process = require "dsync.process" -- only for a descriptor that is never and one that is always readable
    local quiet = assert(process.take { "URG" })
    local other = assert(dsync.open "memory:readable")
    local ready = assert(other:fd())
    local steps, op = 0, nil
    dsync.run(function()
      dsync.spawn(function()
        for _ = 1, 5 do
          dsync.sleep(0.005)
          steps = steps + 1
        end
      end)
      assert.is_false(dsync.readable(quiet, 0.1))
      assert.is_true(steps > 0)
      assert.is_false(dsync.readable(ready, 0))
      op = other._core:ping(-1)
      op:notify()
      assert.is_true(dsync.readable(ready, suite.patience))
      assert.is_true(dsync.readable(ready))
    end)
    assert.is_false(dsync.readable(quiet, 0.01))
    assert.is_false(dsync.readable(quiet, 0))
    assert.is_true(dsync.readable(ready, 0)) -- outside dsync.run, too, one look is taken
    op:free()
    other:close()
    suite.raises("readable: fd must be a descriptor's number", dsync.readable, "stdin")
    for _, number in ipairs { -1, 1.5, 0 / 0, 1 / 0, 2 ^ 40 } do
      suite.raises("readable: fd must be a descriptor's number", dsync.readable, number, 0)
    end
    suite.raises("readable: seconds must not be negative", dsync.readable, quiet, -1)
  end)

  it("counts a coroutine that is closed while it waits as ended", function()
    if not coroutine.close then return end -- Lua 5.4
    local a, b = suite.open(), suite.open()
    local name = suite.name()
    local lock = suite.ok(a:lock(name):acquire())
    local waits = {
      function() dsync.sleep(1000) end,
      function() lock:revoked() end,
      function() b:lock(name):acquire() end,
      function() while true do coroutine.yield() end end,
    }
    for i = 1, #waits do
      local reached
      dsync.run(function()
        local co
        dsync.spawn(function()
          co = coroutine.running()
          waits[i]()
          reached = true
        end)
        while not (co and coroutine.status(co) == "suspended") do dsync.sleep(0.001) end
        if i == 3 then suite.eventually("a waiter", function() return #suite.ok(lock:waiters()) == 1 end) end
        assert.is_true(coroutine.close(co))
      end)
      assert.is_nil(reached)
    end
    suite.eventually("nobody waits", function()
      collectgarbage()
      return #suite.ok(lock:waiters()) == 0
    end)
  end)

  it("takes callable objects", function()
    local object = setmetatable({}, { __call = function(_, ...) return select("#", ...) end })
    assert.equal(2, dsync.run(object, nil, nil))
    local called = false
    dsync.run(function()
      dsync.spawn(setmetatable({}, { __call = function(_, value) called = value end }), true)
    end)
    assert.is_true(called)
  end)

  it("waits for everything that was spawned", function()
    local finished = 0
    dsync.run(function()
      for i = 1, 10 do
        dsync.spawn(function(seconds)
          dsync.sleep(seconds)
          finished = finished + 1
        end, i / 200)
      end
    end)
    assert.equal(10, finished)
  end)

  it("can be used again and again, also after an error", function()
    for i = 1, 3 do
      pcall(dsync.run, function() error "x" end)
      assert.equal(i, dsync.run(function() return i end))
    end
  end)

  it("sleepers wake in the order of their times", function()
    local order = {}
    dsync.run(function()
      for _, tenth in ipairs { 3, 1, 2 } do
        dsync.spawn(function()
          dsync.sleep(tenth * 0.15)
          order[#order + 1] = tenth
        end)
      end
    end)
    assert.same({ 1, 2, 3 }, order)
  end)
end)

describe("coroutines", function()
  after_each(suite.cleanup)

  it("by the hundred never hold one lock at once, and all get it", function()
    dsync.run(function()
      local clients, name = { suite.open(), suite.open(), suite.open() }, suite.name()
      local inside, most, count, last = 0, 0, 0, 0
      for i = 1, 300 do
        dsync.spawn(function()
          local lock = ok(clients[i % 3 + 1]:lock(name):acquire { wait = suite.patience })
          inside = inside + 1
          most = math.max(most, inside)
          assert.is_true(lock:held())
          assert.is_true(lock:token() > last)
          last = lock:token()
          if i % 10 == 0 then dsync.sleep(0.001) end
          inside, count = inside - 1, count + 1
          local released, message, code = lock:release()
          assert.is_true(released or code == "unknown", message) -- servers may be without a leader for a while
        end)
      end
      suite.eventually("all of them", function() return count == 300 end)
      assert.equal(1, most)
    end)
  end)

  it("hold hundreds of different locks at once", function()
    dsync.run(function()
      local d, held, go = suite.open(), 0, false
      local stem = suite.name()
      for i = 1, 200 do
        dsync.spawn(function()
          local lock, message, code
          suite.eventually("the servers", function() -- which may be without a leader for a while
            lock, message, code = d:lock(stem .. i):acquire { wait = suite.patience }
            return code ~= "unavailable"
          end)
          ok(lock, message, code)
          held = held + 1
          suite.eventually("the start", function() return go end)
          assert.is_true(lock:held())
          ok(lock:release())
          held = held - 1
        end)
      end
      suite.eventually("all held", function() return held == 200 end)
      assert.equal(200, d:stats().held)
      go = true
      suite.eventually("all free", function() return held == 0 end)
      assert.equal(0, d:stats().held)
    end)
  end)

  it("wait for different things of one client at once", function()
    dsync.run(function()
      local a, b, name = suite.open(), suite.open(), suite.name()
      local lock = ok(a:lock(name):acquire())
      local tasks = {
        suite.spawn(function() return lock:revoked() end),
        suite.spawn(function() return (ok(b:lock(name):acquire { wait = suite.patience })):held() end),
        suite.spawn(function() return (ok(ok(b:watch { name = name }):next(suite.patience))).type end),
        suite.spawn(function()
          dsync.sleep(0.01)
          return "slept"
        end),
        suite.spawn(function() return select(3, b:lock(name):acquire { wait = 0.05 }) end),
        suite.spawn(function() return (ok(b:ping(suite.patience))) and "pong" end),
      }
      assert.equal("vacant", suite.join(tasks[3]))
      assert.equal("slept", suite.join(tasks[4]))
      assert.equal("timeout", suite.join(tasks[5]))
      assert.equal("pong", suite.join(tasks[6]))
      ok(lock:release())
      assert.equal("released", suite.join(tasks[1]))
      assert.is_true(suite.join(tasks[2]))
    end)
  end)

  it("that time out by the hundred leave nothing behind", function()
    dsync.run(function()
      local a, b, name, over = suite.open(), suite.open(), suite.name(), 0
      ok(a:lock(name):acquire())
      for _ = 1, 200 do
        dsync.spawn(function()
          fails("timeout", b:lock(name):acquire { wait = 0.1 })
          over = over + 1
        end)
      end
      suite.eventually("all timeouts", function() return over == 200 end)
      suite.until_waiting(a, name, 0)
      assert.equal(0, b:stats().waiting)
    end)
  end)

  it("of another scheduler are not disturbed", function()
    -- inside a coroutine that dsync did not start, a call simply blocks
    local d, name = suite.open(), suite.name()
    local co = coroutine.wrap(function()
      local lock = ok(d:lock(name):acquire())
      coroutine.yield(lock:held())
      return lock:release()
    end)
    assert.is_true(co())
    assert.is_true(co())
  end)
end)
