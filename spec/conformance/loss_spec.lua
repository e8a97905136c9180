-- Losing a lock: how one is told, once, and what a lost lock answers.
local suite = require "spec.support.suite"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

describe("a lost lock", function()
  local a, b, name
  before_each(function()
    a, b, name = suite.open { id = "owner" }, suite.open { id = "operator" }, suite.name()
  end)
  after_each(suite.cleanup)

  -- Takes the lock away from its holder.
  local function steal(lock)
    ok(b:break_lock(lock:name(), { token = lock:token() }))
  end

  local function gone(lock)
    suite.eventually("the loss", function() return not lock:held() end)
  end

  it("tells every waiter of revoked and every callback once", function()
    dsync.run(function()
      local lock = ok(a:lock(name):acquire())
      local calls, threads = {}, {}
      for i = 1, 3 do
        assert.equal(lock, lock:on_revoked(function(which, reason)
          calls[#calls + 1] = i .. reason
          assert.equal(lock, which)
          threads[i] = coroutine.running()
        end))
      end
      local tasks = {}
      for i = 1, 3 do tasks[i] = suite.spawn(function() return lock:revoked() end) end
      suite.pause(0.02)
      steal(lock)
      for i = 1, 3 do assert.equal("broken", suite.join(tasks[i])) end
      suite.eventually("callbacks", function() return #calls == 3 end)
      suite.pause(0.1)
      table.sort(calls)
      assert.same({ "1broken", "2broken", "3broken" }, calls)
      assert.are_not.equal(threads[1], threads[2])
      assert.equal("broken", lock:revoked())
    end)
  end)

  it("calls back at once when it is lost already", function()
    local lock = ok(a:lock(name):acquire())
    steal(lock)
    assert.equal("broken", lock:revoked(suite.patience))
    local reason
    lock:on_revoked(function(_, why) reason = why end)
    suite.eventually("the callback", function()
      a:dispatch(0.01)
      return reason
    end)
    assert.equal("broken", reason)
  end)

  it("answers in every call that it is lost", function()
    local lock = ok(a:lock(name):acquire())
    steal(lock)
    gone(lock)
    assert.equal("lost", lock:state())
    assert.equal(0, lock:valid_for())
    assert.is_false(pcall(lock.check, lock))
    fails("lost", lock:put("key", "value"))
    fails("lost", lock:delete "key")
    fails("lost", lock:release())
  end)

  it("forgets its callbacks when it is given up, also if it was lost by then or nobody waits for that", function()
    local canceller = dsync.canceller()
    canceller:cancel()
    local function given_up(held, take, given)
      local told, left = 0, setmetatable({}, { __mode = "k" })
      local function register(callback)
        left[callback] = true
        held:on_revoked(callback)
      end
      register(function() told = told + 1 end)
      take(held)
      held:release(given)
      suite.eventually("the end of the callback", function()
        collectgarbage()
        collectgarbage()
        return next(left) == nil
      end)
      assert.is_true(told <= 1)
    end
    for _, given in ipairs { {}, { cancel = canceller } } do
      given_up(ok(a:lock(suite.name()):acquire()), steal, given)
      given_up(ok(a:lock(suite.name()):acquire()), function() end, given)
      given_up(ok(a:leader(suite.name()):elect()), function() end, given)
    end
  end)

  it("can be acquired again as a new acquisition", function()
    local lock = ok(a:lock(name):acquire())
    local old = lock:token()
    steal(lock)
    gone(lock)
    assert.equal(lock, ok(lock:acquire { wait = suite.patience }))
    assert.is_true(lock:held())
    assert.is_true(lock:token() > old)
    assert.is_true(lock:release())
    assert.equal("released", lock:revoked(suite.patience))
  end)

  it("tells whoever waits the reason, even if a callback has acquired it again by then", function()
    local lock = ok(a:lock(name):acquire())
    local again
    lock:on_revoked(function() again = ok(lock:acquire()) end)
    steal(lock)
    assert.equal("broken", (lock:revoked(suite.patience)))
    suite.eventually("the callback", function() return again end)
    assert.is_true(lock:held())
  end)

  it("is lost after its hold time for the reason expired, and passes on", function()
    dsync.run(function()
      local lock = ok(a:lock(name, { hold = 0.3 }):acquire())
      local reasons = {}
      lock:on_revoked(function(_, reason) reasons[#reasons + 1] = reason end)
      assert.is_true(lock:valid_for() <= 0.3)
      local waiter = suite.spawn(function() return b:lock(name):acquire() end)
      assert.equal("expired", lock:revoked(suite.patience))
      assert.is_false(lock:held())
      assert.is_true(suite.join(waiter):held())
      fails("lost", lock:release())
      suite.pause(0.05)
      assert.same({ "expired" }, reasons)
    end)
  end)

  it("hold may come from the client or the call", function()
    local hasty = suite.open { hold = 0.2 }
    local lock = ok(hasty:lock(name):acquire())
    assert.equal("expired", lock:revoked(suite.patience))
    lock = ok(a:lock(name):acquire { wait = suite.patience })
    assert.is_true(lock:valid_for() > 1)
    ok(lock:release())
  end)

  it("released in time never calls back", function()
    local lock = ok(a:lock(name, { hold = 0.3 }):acquire())
    local called = false
    lock:on_revoked(function() called = true end)
    ok(lock:release())
    assert.equal("released", lock:revoked(suite.patience))
    suite.pause(0.4)
    a:dispatch(0.01)
    assert.is_false(called)
  end)
end)

describe("revoked", function()
  local d, name
  before_each(function() d, name = suite.open(), suite.name() end)
  after_each(suite.cleanup)

  it("times out while the lock is held", function()
    local lock = ok(d:lock(name):acquire())
    local began = suite.now()
    fails("timeout", lock:revoked(0.1))
    assert.is_true(suite.now() - began >= 0.099)
    fails("timeout", lock:revoked(0))
    assert.is_true(lock:held())
  end)

  it("says not_held when there is nothing to lose", function()
    fails("not_held", d:lock(name):revoked(1))
  end)

  it("returns released when somebody releases meanwhile", function()
    dsync.run(function()
      local lock = ok(d:lock(name):acquire())
      local task = suite.spawn(function() return lock:revoked() end)
      suite.pause(0.02)
      ok(lock:release())
      assert.equal("released", suite.join(task))
    end)
  end)
end)

describe("a callback", function()
  local a, b, name
  before_each(function() a, b, name = suite.open(), suite.open(), suite.name() end)
  after_each(suite.cleanup)

  it("may wait, acquire and release", function()
    dsync.run(function()
      local lock, second = ok(a:lock(name):acquire()), nil
      lock:on_revoked(function(which)
        suite.pause(0.02)
        ok(which:acquire { wait = suite.patience })
        second = which:token()
        ok(which:release())
      end)
      local first = lock:token()
      ok(b:break_lock(name, { token = first }))
      suite.eventually("the callback's work", function() return second and not lock:held() end)
      assert.is_true(second > first)
    end)
  end)

  it("runs in a plain program during any call of the library", function()
    local lock, reason = ok(a:lock(name):acquire()), nil
    lock:on_revoked(function(_, why) reason = why end)
    ok(b:break_lock(name, { token = lock:token() }))
    suite.eventually("the loss", function() return not lock:held() end)
    ok(a:lock(name .. "2"):acquire { wait = suite.patience })
    a:dispatch(0.1)
    assert.equal("broken", reason)
  end)

  it("that raises an error harms nobody else", function()
    local notices = {}
    local c = suite.open { on_event = function(event) notices[#notices + 1] = event end }
    local lock, called = ok(c:lock(name):acquire()), 0
    lock:on_revoked(function() error "oops" end)
    lock:on_revoked(function() called = called + 1 end)
    ok(b:break_lock(name, { token = lock:token() }))
    suite.eventually("the second callback", function()
      pcall(c.dispatch, c, 0.01)
      return called == 1
    end)
    ok(c:lock(name):acquire { wait = suite.patience })
  end)
end)
