-- Guards inside other event loops: what is busy is interrupted, what waits is woken, what yields goes on.
local suite = require "spec.support.suite"
local busy = require "spec.support.busy"
local ok = suite.ok

local loops = {}

function loops.cqueues(fn)
  local loop = require("cqueues").new()
  loop:wrap(fn)
  assert(loop:loop())
end

function loops.luv(fn)
  local uv = require "luv"
  local co = coroutine.create(fn)
  local good, message = coroutine.resume(co)
  if not good then error(message, 0) end
  uv.run()
end

for name, run in pairs(loops) do
  describe("a guard in " .. name, function()
    if not pcall(require, name) then
      pending(name .. " is not here for this Lua")
      return
    end
    after_each(suite.cleanup)

    it("ends a wait", function()
      local waited
      run(function()
        local d = suite.open { runtime = name }
        local taken = ok(d:lock "taken":acquire())
        local lock = busy.doomed(d, suite.name(), 0.1)
        local begun = busy.now()
        busy.lost(lock:guard(function()
          collectgarbage()
          d:lock "taken":acquire()
          busy.for_ever()
        end))
        waited = busy.now() - begun
        ok(taken:release())
        d:close()
      end)
      assert.is_true(waited and waited < 10)
    end)

    it("ends a busy loop", function()
      local stopped
      run(function()
        local d = suite.open { runtime = name }
        stopped = busy.lost(busy.doomed(d, suite.name()):guard(busy.stubborn))
        d:close()
      end)
      assert.is_string(stopped)
    end)

    it("lets its function wait as long as the lock is held", function()
      local result
      run(function()
        local d = suite.open { runtime = name }
        local lock = ok(d:lock(suite.name()):acquire())
        result = lock:guard(function()
          local other = ok(d:lock(suite.name()):acquire())
          assert(d:dispatch(0.02))
          return ok(other:release())
        end)
        d:close()
      end)
      assert.is_true(result)
    end)
  end)
end
