-- lock:guard stops a function that is busy when its lock is lost.
local suite = require "spec.support.suite"
local busy = require "spec.support.busy"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

local ROUNDS = 20
local PROMPT = 0.1

describe("a guard", function()
  local d, name
  before_each(function() d, name = suite.open(), suite.name() end)
  after_each(suite.cleanup)

  -- How long after the loss each of ROUNDS calls of fn under guard ended.
  local function latencies(fn)
    local list, hold = {}, 0.05
    for i = 1, ROUNDS do
      local lock = busy.doomed(d, name, hold)
      local begun = busy.now() - (hold - lock:valid_for())
      busy.lost(lock:guard(fn))
      list[i] = busy.now() - begun - hold
    end
    return list
  end

  it("ends a busy loop", function()
    local median = busy.median(latencies(busy.for_ever))
    assert.is_true(median < PROMPT, "median " .. median)
  end)

  it("ends a loop that swallows errors, when the grace is over", function()
    local median = busy.median(latencies(busy.stubborn))
    assert.is_true(median < PROMPT, "median " .. median)
  end)

  it("ends a loop that swallows the errors of a function that fails", function()
    local median = busy.median(latencies(function()
      while true do
        busy.step()
        pcall(error)
      end
    end))
    assert.is_true(median < PROMPT, "median " .. median)
  end)

  it("ends one that swallows errors at every level", function()
    local function nested(level)
      while true do pcall(level > 0 and nested or busy.for_ever, level - 1) end
    end
    busy.lost(busy.doomed(d, name):guard(nested, 5))
  end)

  it("lets clean-up run after the first error", function()
    local cleaned, caught
    local lock = busy.doomed(d, name)
    busy.lost(lock:guard(function()
      local good, err = pcall(busy.for_ever)
      caught = err
      assert(not good)
      busy.work(0.02)
      cleaned = true
      error(err, 0)
    end))
    assert.is_true(cleaned)
    local lost, reason, which = dsync.is_lost(caught)
    assert.is_true(lost)
    assert.equal("expired", reason)
    assert.equal(lock, which)
    assert.equal("lost", caught.code)
    assert.truthy(tostring(caught):find(name, 1, true))
    assert.truthy(tostring(caught):find("busy.lua:%d+: "), tostring(caught))
  end)

  it("lets clean-up run after the error of check, which is the same one", function()
    local function ask(lock)
      while true do lock:check() end
    end
    local cleaned = 0
    for _ = 1, ROUNDS do
      local lock = busy.doomed(d, name)
      busy.lost(lock:guard(function()
        local good, err = pcall(ask, lock)
        assert(not good and dsync.is_lost(err))
        busy.work(0.01)
        cleaned = cleaned + 1
        error(err, 0)
      end))
    end
    assert.is_true(cleaned > ROUNDS / 2, cleaned .. " of " .. ROUNDS) -- a slow machine may use up the grace
  end)

  it("ends a loop that swallows the errors of check", function()
    local lock = busy.doomed(d, name)
    busy.lost(lock:guard(function()
      while true do pcall(lock.check, lock) end
    end))
  end)

  it("says so when the function cleans up and returns", function()
    local message = fails("lost", busy.doomed(d, name):guard(function()
      pcall(busy.for_ever)
      return "done"
    end))
    assert.truthy(message:find("expired", 1, true), message)
  end)

  it("lets an error of the clean-up through", function()
    local lock = busy.doomed(d, name)
    local good, err = pcall(lock.guard, lock, function()
      pcall(busy.for_ever)
      error("disk full", 0)
    end)
    assert.is_false(good)
    assert.truthy(tostring(err):find("^disk full"))
  end)

  it("gives handlers of xpcall the error itself", function()
    local seen
    busy.lost(busy.doomed(d, name):guard(function()
      xpcall(busy.for_ever, function(err)
        seen = err
        return err
      end)
    end))
    assert.is_true(dsync.is_lost(seen))
  end)

  it("leaves the caller alone afterwards", function()
    for _ = 1, 5 do
      busy.lost(busy.doomed(d, name):guard(busy.stubborn))
      busy.work(0.06)
      local good, err = pcall(error, "own", 0)
      assert.is_false(good)
      assert.equal("own", err)
    end
  end)

  it("does not stop a function whose lock is kept, or was released in time", function()
    local lock = ok(d:lock(name):acquire())
    assert.equal("done", lock:guard(function()
      busy.work(0.05)
      return "done"
    end))
    assert.is_true(lock:held())
    local short = busy.doomed(d, suite.name(), 0.1)
    assert.equal("done", short:guard(function()
      ok(short:release())
      busy.work(0.15)
      return "done"
    end))
  end)

  it("belongs to one acquisition", function()
    local lock = busy.doomed(d, name, 0.1)
    assert.equal("done", lock:guard(function()
      ok(lock:release())
      ok(lock:acquire { hold = 0.05 })
      busy.work(0.1)
      assert.is_false(lock:held())
      return "done"
    end))
  end)

  it("ends when the client is closed", function()
    local lock = ok(d:lock(name):acquire())
    busy.lost(lock:guard(function()
      d:close()
      busy.for_ever()
    end))
  end)

  it("spares a function that ends at the moment of the loss nothing but the truth", function()
    for i = 1, 30 do
      local lock = busy.doomed(d, name, 0.02)
      local left = lock:valid_for() - 0.003 + i / 5000
      local value, _, code = lock:guard(function()
        busy.work(left)
        return "done"
      end)
      assert.is_true(value == "done" or code == "lost")
      lock:release()
    end
  end)
end)
