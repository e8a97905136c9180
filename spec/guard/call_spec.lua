-- lock:guard as a call: arguments, results, errors, and what a lock says that is not held. lock:check. Leadership.
local suite = require "spec.support.suite"
local busy = require "spec.support.busy"
local dsync, ok, fails, raises = suite.dsync, suite.ok, suite.fails, suite.raises

describe("guard", function()
  local d, name, lock
  before_each(function()
    d, name = suite.open(), suite.name()
    lock = ok(d:lock(name):acquire())
  end)
  after_each(suite.cleanup)

  it("hands arguments and results through", function()
    assert.same({ 4, 1, nil, 3 }, { select("#", lock:guard(function(...) return ... end, 1, nil, 3, nil)),
      lock:guard(function(...) return ... end, 1, nil, 3, nil) })
    assert.equal(0, select("#", lock:guard(function() end)))
  end)

  it("raises the function's own errors", function()
    local thrown = {}
    local good, err = pcall(lock.guard, lock, function() error(thrown) end)
    assert.is_false(good)
    assert.equal(thrown, err)
    good, err = pcall(lock.guard, lock, function() error "in the middle" end)
    assert.is_false(good)
    assert.truthy(err:find("call_spec.lua:%d+: in the middle"))
    assert.truthy(err:find("traceback", 1, true))
    assert.is_true(lock:held())
    assert.equal("fine", lock:guard(function() return "fine" end))
  end)

  it("takes callable objects and refuses the rest", function()
    assert.equal(3, lock:guard(setmetatable({}, { __call = function(_, a) return a end }), 3))
    raises("guard: fn must be a function, got nothing", lock.guard, lock)
    raises("guard: fn must be a function, got the number 1", lock.guard, lock, 1)
  end)

  it("does not run anything under a lock that is not held", function()
    local never = function() error "ran" end
    fails("not_held", d:lock(suite.name()):guard(never))
    ok(lock:release())
    fails("not_held", lock:guard(never))
    local doomed = busy.doomed(d, suite.name(), 0.02)
    busy.work(0.03)
    local message = fails("lost", doomed:guard(never))
    assert.truthy(message:find("expired", 1, true), message)
  end)

  it("is what check is for where no signal reaches", function()
    lock:check()
    local doomed = busy.doomed(d, suite.name(), 0.02)
    doomed:check()
    busy.work(0.03)
    local good, err = pcall(doomed.check, doomed)
    assert.is_false(good)
    assert.is_true(dsync.is_lost(err))
    assert.equal(doomed, err.lock)
    assert.truthy(tostring(err):find("call_spec.lua:%d+: "), tostring(err))
    ok(lock:release())
    good, err = pcall(lock.check, lock)
    assert.is_false(good)
    assert.equal("not_held", err.code)
    assert.is_false(dsync.is_lost(err))
    for _, other in ipairs { "lost", 1, false, {} } do assert.is_false(dsync.is_lost(other)) end
    assert.is_false(dsync.is_lost(nil))
  end)

  it("raises the loss of another lock as what it is", function()
    local doomed = busy.doomed(d, suite.name(), 0.02)
    local good, err = pcall(lock.guard, lock, function()
      busy.work(0.03)
      doomed:check()
    end)
    assert.is_false(good)
    assert.equal(doomed, err.lock)
  end)

  it("guards a term of leadership", function()
    local leader = d:leader(suite.name(), { hold = 0.05 })
    local elected = ok(leader:elect())
    local caught
    fails("lost", elected:guard(function()
      local _, err = pcall(busy.for_ever)
      caught = err
    end))
    assert.equal(elected, caught.lock)
    local again = ok(leader:elect())
    fails("lost", elected:guard(busy.for_ever))
    assert.equal(1, again:guard(function() return 1 end))
  end)

  it("is what on_elected runs under", function()
    local terms, told = 0, 0
    local leader = d:leader(suite.name(), { hold = 0.05, retry_interval = 0.01 })
    assert.is_true(leader:run {
      on_elected = function(elected, run)
        terms = terms + 1
        if terms == 3 then
          assert(elected:held())
          run:stop()
        else
          busy.for_ever()
        end
      end,
      on_revoked = function(_, _, reason)
        assert.equal("expired", reason)
        told = told + 1
      end,
    })
    assert.equal(3, terms)
    assert.equal(2, told)
  end)
end)
