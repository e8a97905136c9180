-- acquire{wait=1} on a held lock: answers on time, and soon nothing of it is on the server.
local suite = require "spec.support.suite"
local in_time = require "spec.support.in_time"
local tools = require "spec.support.suite_etcd"
local ok, fails = suite.ok, suite.fails

describe("acquire{wait=1} on a held lock", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(function()
    bench.server:resume() -- whatever a failed test has left behind
    suite.cleanup()
  end)

  it("answers between 1 and 1.5 s, and leaves nothing", in_time(function(within)
    local a, b = suite.open(), suite.open()
    local held = ok(a:lock "x":acquire())
    for _ = 1, 5 do
      local began = suite.now()
      fails("timeout", b:lock "x":acquire { wait = 1 })
      local took = suite.now() - began
      assert.is_true(took >= 0.999, ("took %.3f s"):format(took))
      within(1.5, took, "the answer")
      began = suite.now()
      suite.eventually("one entry", function() return #bench.keys(held:key() .. "/") == 1 end)
      within(1, suite.now() - began, "taking the entry away")
    end
    assert.is_true(held:held())
  end))

  it("does the same while the server is stopped, and cleans up when it goes on", in_time(function(within)
    local a, b = suite.open { ttl = 30 }, suite.open { ttl = 30 }
    local held = ok(a:lock "x":acquire())
    ok(ok(b:lock "y":acquire()):release())
    bench.server:pause()
    local began = suite.now()
    local value, _, code = b:lock "x":acquire { wait = 1 }
    local took = suite.now() - began
    bench.server:resume()
    assert.is_nil(value)
    assert.truthy(code == "timeout" or code == "unavailable", code)
    assert.is_true(took >= 0.999, ("took %.3f s"):format(took))
    within(1.5, took, "the answer")
    suite.eventually("one entry", function() return #bench.keys(held:key() .. "/") == 1 end)
    suite.pause(1)
    assert.equal(1, #bench.keys(held:key() .. "/"))
    assert.is_true(held:held())
    assert.is_true(held:release())
    ok(b:lock "x":acquire { wait = suite.patience })
  end))
end)
