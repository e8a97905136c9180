-- The server is killed: the holder is told before its ttl ends, nothing hangs, and keep holds again when it is back.
local suite = require "spec.support.suite"
local in_time = require "spec.support.in_time"
local tools = require "spec.support.suite_etcd"
local dsync, ok = suite.dsync, suite.ok

local TTL_S = 4

describe("when the server is killed", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(function()
    if not bench.server.nodes[1].process:alive() then bench.server:restart() end -- after a failed test
    suite.cleanup()
  end)

  it("the holder is told in time and keep holds again afterwards", in_time(function(within)
    dsync.run(function()
      local d = suite.open { ttl = TTL_S, retry_interval = 0.2 }
      local lock, plain = d:lock "kept", d:lock "plain"
      local tokens, lost_at, reasons, run = {}, nil, {}, nil
      local task = suite.spawn(function()
        return lock:keep {
          on_acquired = function(which, r)
            tokens[#tokens + 1], run = which:token(), r
          end,
          on_revoked = function() lost_at = lost_at or suite.now() end,
        }
      end)
      ok(plain:acquire())
      plain:on_revoked(function(_, reason) reasons[#reasons + 1] = reason end)
      suite.eventually("the first acquisition", function() return #tokens == 1 end)
      suite.pause(1)

      local killed_at = suite.now()
      bench.server:kill()
      assert.is_true(lock:held())
      suite.eventually("the loss", function() return lost_at end)
      within(TTL_S, lost_at - killed_at, "the notice")
      assert.is_false(lock:held())
      assert.is_false(plain:held())
      assert.equal("expired", plain:revoked(suite.patience))

      -- no call hangs meanwhile
      local began = suite.now()
      local value, _, code = d:lock "other":acquire { wait = 1 }
      assert.is_nil(value)
      assert.truthy(code == "unavailable" or code == "timeout", code)
      within(1.5, suite.now() - began, "acquire with a wait of 1 s")
      suite.fails("unavailable", d:ping(1))

      bench.server:restart()
      suite.eventually("the second acquisition", function() return #tokens == 2 and lock:held() end)
      assert.is_true(tokens[2] > tokens[1])
      assert.same({ "expired" }, reasons)
      run:stop()
      suite.join(task)
      suite.eventually("an empty queue", function() return #bench.keys(lock:key() .. "/") == 0 end)
      ok(plain:acquire { wait = suite.patience })
    end)
  end))

  it("close is bounded", in_time(function(within)
    local d = suite.open { close_timeout = 1 }
    ok(d:lock "x":acquire())
    bench.server:kill()
    local began = suite.now()
    local value, message, code = d:close()
    within(2, suite.now() - began, "close")
    assert.is_nil(value)
    assert.equal("unknown", code)
    assert.truthy(message:find "free", message)
    bench.server:restart()
  end))
end)
