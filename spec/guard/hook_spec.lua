-- What a guard uses of the program: its debug hook, a signal.
local suite = require "spec.support.suite"
local busy = require "spec.support.busy"
local child = require "spec.support.suite_child"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

describe("a guard", function()
  local d, name
  before_each(function() d, name = suite.open(), suite.name() end)
  after_each(function()
    debug.sethook()
    assert.is_true(dsync.guard_signal(nil))
    suite.cleanup()
  end)

  it("sets no hook while the lock is held", function()
    local lock = ok(d:lock(name):acquire())
    lock:guard(function()
      busy.work(0.01)
      assert.is_nil((debug.gethook()))
    end)
    assert.is_nil((debug.gethook()))
  end)

  it("takes its hook away", function()
    busy.lost(busy.doomed(d, name):guard(busy.stubborn))
    assert.is_nil((debug.gethook()))
  end)

  it("puts the program's hook back", function()
    local count = 0
    local function hook() count = count + 1 end
    for _, fn in ipairs { busy.for_ever, busy.stubborn } do
      local lock = busy.doomed(d, name)
      debug.sethook(hook, "", 100)
      busy.lost(lock:guard(fn))
      local present, mask, every = debug.gethook()
      assert.equal(hook, present)
      assert.equal("", mask)
      assert.equal(100, every)
      local before = count
      busy.work(0.01)
      assert.is_true(rawget(_G, "jit") ~= nil or count > before)
      debug.sethook()
    end
  end)

  it("keeps a hook that the function sets before the loss", function()
    local function hook() end
    busy.lost(busy.doomed(d, name):guard(function()
      debug.sethook(hook, "", 1000)
      busy.for_ever()
    end))
    assert.is_true(not rawget(_G, "jit") and _VERSION == "Lua 5.1" or debug.gethook() == hook)
  end)

  it("works with any signal that nobody uses", function()
    for _, signal in ipairs { 10, 12, 23, 40, 64 } do -- USR1, USR2, URG, real-time ones
      assert.is_true(dsync.guard_signal(signal))
      busy.lost(busy.doomed(d, name):guard(busy.for_ever))
    end
  end)

  it("refuses signals that are no use", function()
    for _, signal in ipairs { 0, -1, 9, 11, 19, 65, 1e9 } do
      fails("config", dsync.guard_signal(signal))
    end
    assert.has_error(function() dsync.guard_signal "URG" end)
    assert.has_error(function() dsync.guard_signal(true) end)
    busy.lost(busy.doomed(d, name):guard(busy.for_ever))
  end)

  it("without a signal ends the function where it waits", function()
    assert.is_true(dsync.guard_signal(false))
    local begun = busy.now()
    local after
    busy.lost(busy.doomed(d, name):guard(function()
      dsync.sleep(20)
      busy.step()
      after = true
      busy.for_ever()
    end))
    assert.is_true(busy.now() - begun < 10)
    assert.is_nil(after)
  end)

  it("leaves signals alone until it is used", function()
    local program = [[
      local dsync = require "dsync"
      local function caught()
        for line in io.lines "/proc/self/status" do
          local bits = line:match "^SigCgt:%s*(%x+)"
          if bits then return bits end
        end
      end
      local own = caught()
      local d = assert(dsync.open "memory:")
      local lock = assert(d:lock("x"):acquire())
      local before = caught() -- the C library takes one for itself with the first thread
      assert(before:sub(9) == own:sub(9))
      lock:check()
      assert(caught() == before)
      lock:guard(function() end)
      assert(caught() ~= before)
      d:close()
      print "fine"
    ]]
    assert.equal("fine\n", child.lua(program))
  end)

  it("costs a loop nothing while the lock is held: no hook is set", function()
    local lock = ok(d:lock(name):acquire())
    local function hooked() return debug.gethook() ~= nil end
    assert.is_false(lock:guard(function()
      local deadline = busy.now() + 0.3
      while busy.now() < deadline do
        busy.step()
        if hooked() then return true end
      end
      return hooked()
    end))
  end)
end)
