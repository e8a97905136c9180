-- Objects that go out of scope: collected locks are released, and 5.4's <close> releases at once.
local suite = require "spec.support.suite"
local dsync, ok = suite.dsync, suite.ok

local function collect()
  for _ = 1, 3 do collectgarbage() end
end

describe("garbage", function()
  local name
  before_each(function() name = suite.name() end)
  after_each(suite.cleanup)

  it("a held lock that nobody knows any more is released, with a notice", function()
    local notices = {}
    local a = suite.open { on_event = function(event) notices[#notices + 1] = event end }
    local b = suite.open();
    (function() assert(a:lock(name):acquire()) end)()
    collect()
    local lock = ok(b:lock(name):acquire { wait = suite.patience })
    assert.is_true(lock:held())
    suite.eventually("a notice", function()
      a:dispatch(0.01)
      return #notices > 0
    end)
  end)

  it("a held lock that somebody knows is kept", function()
    local a = suite.open()
    local lock = ok(a:lock(name):acquire())
    collect()
    assert.is_true(lock:held())
    suite.fails("contended", suite.open():lock(name):try())
  end)

  it("a client that nobody knows any more is closed", function()
    local b = suite.open();
    (function() assert(suite.open_loose():acquire(name)) end)()
    collect()
    ok(b:lock(name):acquire { wait = suite.patience })
  end)

  it("a lock keeps its client alive", function()
    local lock = ok(suite.open_loose():lock(name):acquire())
    collect()
    assert.is_true(lock:held())
    suite.fails("contended", suite.open():lock(name):try())
    assert.is_true(lock:release())
  end)

  it("many locks, clients and watchers may come and go", function()
    for _ = 1, 20 do
      local d = suite.open_loose()
      for _ = 1, 5 do d:lock(suite.name()):acquire() end
      d:watch { name = name }
      d:leader(name)
    end
    collect()
    ok(suite.open():lock(name):acquire())
  end)

  it("is harmless at the end of a program, whatever is going on", function()
    local child = require "spec.support.suite_child"
    local out = child.lua([[
      local dsync = require "dsync"
      local options = arg[3] and dofile(arg[3]) or {}
      options.prefix = arg[2]
      local d = assert(dsync.open(arg[1], options))
      local lock = assert(d:lock("held"):acquire())
      lock:on_revoked(print)
      assert(d:leader("lead"):elect())
      assert(d:watch {})
      dsync.run(function()
        for i = 1, 10 do
          dsync.spawn(function() dsync.open(arg[1], options):lock("held"):acquire { wait = 0.1 } end)
        end
        dsync.sleep(0.02)
      end)
      print "end"
    ]], nil, suite.url, suite.prefix(), suite.options_file)
    assert.equal("end\n", out)
  end)
end)

-- <close> is new syntax: 5.1 must not see it, so it comes as text.
local load_text = loadstring or load -- luacheck: globals loadstring
local closing = _VERSION >= "Lua 5.4" and load_text [[
  local lock, fn = ...
  local held <close> = assert(lock:acquire())
  assert(held:held())
  return fn(held)
]]

if closing then
  describe("a lock with <close>", function()
    after_each(suite.cleanup)

    it("is released at the end of its scope", function()
      local a, b, name = suite.open(), suite.open(), suite.name()
      local lock = a:lock(name)
      assert.equal("result", closing(lock, function() return "result" end))
      assert.is_false(lock:held())
      ok(b:lock(name):acquire { wait = suite.patience })
    end)

    it("is released by an error, too", function()
      local a, b, name = suite.open(), suite.open(), suite.name()
      local lock = a:lock(name)
      assert.is_false(pcall(closing, lock, function() error "x" end))
      assert.is_false(lock:held())
      ok(b:lock(name):acquire { wait = suite.patience })
    end)

    it("does not mind an earlier release", function()
      local lock = suite.open():lock(suite.name())
      closing(lock, function(held) ok(held:release()) end)
      assert.is_false(lock:held())
    end)

    it("works in a coroutine", function()
      dsync.run(function()
        local a, name, order, tasks = suite.open(), suite.name(), {}, {}
        for i = 1, 5 do
          tasks[i] = suite.spawn(function()
            closing(a:lock(name), function()
              order[#order + 1] = i
              suite.pause(0.005)
            end)
          end)
        end
        for i = 1, 5 do suite.join(tasks[i]) end
        assert.same({ 1, 2, 3, 4, 5 }, order)
      end)
    end)
  end)
end
