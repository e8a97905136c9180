-- A server that accepts everything and says nothing (stopped, or cut off): nobody believes beyond the ttl.
local suite = require "spec.support.suite"
local in_time = require "spec.support.in_time"
local tools = require "spec.support.suite_etcd"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

local TTL_S = 4

describe("when the server falls silent", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(function()
    bench.server:resume() -- whatever a failed test has left behind
    suite.cleanup()
  end)

  it("the holder is told before its ttl ends, without the network", in_time(function(within)
    dsync.run(function()
      local d, other = suite.open { ttl = TTL_S }, suite.open { ttl = TTL_S }
      local lock, reasons, told_at = ok(d:lock "x":acquire()), {}, nil
      lock:on_revoked(function(_, reason)
        reasons[#reasons + 1] = reason
        told_at = suite.now()
      end)
      suite.pause(1)
      local silent_at = suite.now()
      bench.server:pause()
      assert.is_true(lock:valid_for() <= TTL_S)
      assert.equal("expired", lock:revoked(suite.patience))
      suite.eventually("the callback", function() return told_at end)
      within(TTL_S, told_at - silent_at, "the notice")
      assert.is_false(lock:held())

      local began = suite.now()
      local released, _, code = lock:release()
      assert.is_nil(released)
      assert.equal("lost", code)
      within(0.5, suite.now() - began, "release of what is lost")
      began = suite.now()
      fails("unavailable", d:ping(1))
      within(1.2, suite.now() - began, "ping(1)")

      bench.server:resume()
      local fresh = ok(other:lock "x":acquire { wait = suite.patience })
      assert.is_true(fresh:token() > lock:token())
      suite.pause(1)
      assert.same({ "expired" }, reasons)
      assert.is_true(fresh:held())
      assert.is_true(fresh:release())
      suite.eventually("an empty queue", function() return #bench.keys(lock:key() .. "/") == 0 end)
    end)
  end))

  it("with_lock gives what its function returned, and says that the release was not confirmed", in_time(function(within)
    for _, how in ipairs { "in time", "before the client was closed" } do
      dsync.run(function()
        local said, results = {}, nil
        local d = suite.open { ttl = 8, on_event = function(event) said[#said + 1] = event.type end }
        local began
        local task = suite.spawn(function()
          results = { d:with_lock("w", {}, function(lock)
            bench.server:pause()
            assert.is_true(lock:held())
            began = suite.now()
            return "done", nil, "all"
          end) }
        end)
        if how ~= "in time" then
          suite.eventually("the release", function() return began end)
          suite.pause(0.1)
          d:close(0.5)
        end
        suite.eventually("the end", function() return task.done end)
        local ended = suite.now()
        bench.server:resume()
        assert.same({ "done", nil, "all" }, results, how)
        within(7, ended - began, "the end " .. how)
        suite.eventually("the event", function()
          return how ~= "in time" or table.concat(said):find "release_unknown"
        end)
        ok(ok(suite.open():lock "w":acquire { wait = suite.patience }):release())
      end)
      suite.cleanup()
    end
  end))

  it("a short silence is survived", function()
    dsync.run(function()
      local d = suite.open { ttl = 8 }
      local lock = ok(d:lock "x":acquire())
      local token = lock:token()
      for _ = 1, 3 do
        bench.server:pause()
        suite.pause(2)
        bench.server:resume()
        suite.pause(1)
      end
      suite.pause(4)
      assert.is_true(lock:held())
      assert.equal(token, lock:token())
      assert.is_true(lock:release())
    end)
  end)

  it("a release that cannot be confirmed says unknown and until when, and happens later", function()
    local d = suite.open { ttl = 10 }
    local lock = ok(d:lock "x":acquire())
    bench.server:pause()
    local value, message, code = lock:release()
    bench.server:resume()
    assert.is_nil(value)
    assert.equal("unknown", code)
    assert.truthy(message:find "free", message)
    assert.is_false(lock:held())
    suite.eventually("the removal", function() return #bench.keys(lock:key() .. "/") == 0 end)
    ok(suite.open():lock "x":acquire { wait = suite.patience })
  end)
end)
