-- client:with_lock: whatever happens inside, the lock is given back.
local suite = require "spec.support.suite"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

describe("with_lock", function()
  local d, other, name
  before_each(function() d, other, name = suite.open(), suite.open(), suite.name() end)
  after_each(suite.cleanup)

  local function free() ok(ok(other:lock(name):acquire { wait = suite.patience }):release()) end

  it("gives fn the held lock and the arguments, and returns its results", function()
    local inside
    local a, b, c, e = d:with_lock(name, {}, function(lock, x, y)
      inside = lock
      assert.is_true(lock:held())
      fails("contended", other:lock(name):try())
      return x + y, nil, "three", nil
    end, 1, 2)
    assert.same({ 3, nil, "three", nil }, { a, b, c, e })
    assert.is_false(inside:held())
    free()
  end)

  it("keeps trailing nils and takes no options", function()
    assert.equal(3, select("#", d:with_lock(name, nil, function() return nil, nil, nil end)))
    assert.equal(0, select("#", d:with_lock(name, nil, function() end)))
  end)

  it("rethrows errors, with the place where they happened", function()
    local good, err = pcall(d.with_lock, d, name, {}, function() error "in the middle" end)
    assert.is_false(good)
    err = tostring(err)
    assert.truthy(err:find("in the middle", 1, true))
    assert.truthy(err:find("with_lock_spec", 1, true))
    assert.truthy(err:find("traceback", 1, true), err)
    free()
  end)

  it("rethrows errors that are no strings as they are", function()
    local thrown = setmetatable({}, { __tostring = function() return "special" end })
    local good, err = pcall(d.with_lock, d, name, {}, function() error(thrown) end)
    assert.is_false(good)
    assert.equal(thrown, err)
    free()
  end)

  it("does not call fn when the lock cannot be had", function()
    ok(other:lock(name):acquire())
    local called = false
    local function fn() called = true end
    fails("contended", d:with_lock(name, { wait = 0 }, fn))
    fails("timeout", d:with_lock(name, { wait = 0.05 }, fn))
    assert.is_false(called)
  end)

  it("says lost when the lock was lost meanwhile", function()
    fails("lost", d:with_lock(name, {}, function(lock)
      ok(other:break_lock(name, { token = lock:token() }))
      assert.equal("broken", lock:revoked(suite.patience))
      return "done"
    end))
    free()
  end)

  it("does not mind that fn released it", function()
    assert.equal("done", (d:with_lock(name, {}, function(lock)
      ok(lock:release())
      return "done"
    end)))
    free()
  end)

  it("does not mind that fn released it and closed the client", function()
    assert.equal("done", (d:with_lock(name, {}, function(lock)
      ok(lock:release())
      ok(d:close())
      return "done"
    end)))
    free()
  end)

  it("says lost when fn closed the client under it", function()
    local message = fails("lost", d:with_lock(name, {}, function()
      ok(d:close())
      return "done"
    end))
    assert.truthy(message:find("closed", 1, true))
    free()
  end)

  it("lets fn wait inside coroutines, on every Lua", function()
    dsync.run(function()
      local order = {}
      local function task(label)
        return suite.spawn(function()
          return d:with_lock(name, {}, function(lock, what)
            order[#order + 1] = what .. "+"
            suite.pause(0.02)
            fails("timeout", lock:revoked(0.02))
            order[#order + 1] = what .. "-"
            return what
          end, label)
        end)
      end
      local a, b = task "a", task "b"
      assert.equal("a", suite.join(a))
      assert.equal("b", suite.join(b))
      assert.same({ "a+", "a-", "b+", "b-" }, order)
    end)
  end)

  it("rethrows from inside a coroutine", function()
    dsync.run(function()
      local co_error
      local task = suite.spawn(function()
        local co = coroutine.create(function()
          d:with_lock(name, {}, function() error "from a coroutine" end)
        end)
        local good, err = coroutine.resume(co)
        co_error = not good and tostring(err) or "none"
      end)
      -- a coroutine that the scheduler does not know may block; what counts is that the lock is free and the error told
      suite.eventually("the error", function() return co_error or task.done end)
      assert.truthy(not co_error or co_error:find("from a coroutine", 1, true))
    end)
  end)
end)
