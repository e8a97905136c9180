-- lock:keep: acquire, and after every loss acquire again, until stopped.
local suite = require "spec.support.suite"
local dsync, ok = suite.dsync, suite.ok

describe("keep", function()
  local a, b, name
  before_each(function()
    a, b, name = suite.open { retry_interval = 0.05 }, suite.open(), suite.name()
  end)
  after_each(suite.cleanup)

  it("acquires, tells, and releases when it is stopped", function()
    dsync.run(function()
      local lock, runs = a:lock(name), {}
      local task = suite.spawn(function()
        return lock:keep { on_acquired = function(which, run)
          assert.equal(lock, which)
          assert.is_true(which:held())
          runs[#runs + 1] = run
        end }
      end)
      suite.eventually("on_acquired", function() return runs[1] end)
      suite.pause(0.1)
      assert.is_true(lock:held())
      assert.is_false(task.done)
      runs[1]:stop()
      suite.join(task)
      assert.equal(1, #runs)
      assert.is_false(lock:held())
      ok(b:lock(name):acquire { wait = suite.patience })
    end)
  end)

  it("acquires again after every loss", function()
    dsync.run(function()
      local lock, tokens, losses, run = a:lock(name), {}, 0, nil
      local task = suite.spawn(function()
        return lock:keep {
          on_acquired = function(which, r)
            tokens[#tokens + 1], run = which:token(), r
          end,
          on_revoked = function(which, r, reason)
            assert.equal(lock, which)
            assert.equal(run, r)
            assert.equal("broken", reason)
            losses = losses + 1
          end,
        }
      end)
      for i = 1, 4 do
        suite.eventually("acquisition " .. i, function() return #tokens == i and lock:held() end)
        if i < 4 then ok(b:break_lock(name, { token = tokens[i] })) end
      end
      suite.eventually("three losses", function() return losses == 3 end)
      run:stop()
      suite.join(task)
      assert.equal(4, #tokens)
      assert.equal(3, losses)
      for i = 2, 4 do assert.is_true(tokens[i] > tokens[i - 1]) end
    end)
  end)

  it("can be stopped from a callback in a plain program", function()
    local lock, stopped = a:lock(name), 0
    lock:keep { on_acquired = function(_, run)
      stopped = stopped + 1
      run:stop()
    end }
    assert.equal(1, stopped)
    assert.is_false(lock:held())
    ok(b:lock(name):acquire { wait = suite.patience })
  end)

  it("waits behind another holder, and ends when the client is closed", function()
    dsync.run(function()
      local held = ok(b:lock(name):acquire())
      local lock, acquired = a:lock(name), 0
      local task = suite.spawn(function()
        return lock:keep { on_acquired = function() acquired = acquired + 1 end }
      end)
      suite.until_waiting(b, name, 1)
      assert.equal(0, acquired)
      ok(held:release())
      suite.eventually("the acquisition", function() return acquired == 1 end)
      a:close()
      local value, _, code = suite.join(task)
      assert.is_nil(value)
      assert.equal("closed", code)
    end)
  end)

  it("can be stopped while it waits", function()
    dsync.run(function()
      local lock, run = a:lock(name), nil
      local task = suite.spawn(function()
        return lock:keep { on_acquired = function(_, r) run = r end }
      end)
      suite.eventually("the acquisition", function() return run end)
      local thief = suite.spawn(function() return b:lock(name):acquire() end)
      suite.until_waiting(b, name, 1)
      ok(b:break_lock(name, { token = lock:token() }))
      ok(suite.join(thief))
      suite.until_waiting(b, name, 1)
      run:stop()
      suite.join(task)
      suite.until_waiting(b, name, 0)
    end)
  end)
end)
