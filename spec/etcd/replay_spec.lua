-- Requests that arrive twice, late, or whose answer is lost: nothing of them stays on the server.
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_etcd"
local rig = require "spec.support.rig"
local ok, fails = suite.ok, suite.fails

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*/[^/]*$"

describe("an acquire", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)
  local proxy, d, name, path

  local function tell(text)
    assert(proxy:write(text .. "\n"))
    local line, why = proxy:line(suite.patience)
    assert.is_string(line, why)
    return tonumber(line:match "^ok ?(%d*)$")
  end

  local function rule(mode, count)
    tell(("rule %s %d %s/"):format(mode, count, path))
  end

  before_each(function()
    proxy = rig.start({ "python3", here .. "/support/replay_proxy.py", bench.server.nodes[1].port }, {})
    local port = assert(proxy:line(suite.patience)):match "^port (%d+)$"
    -- in the encoding that the proxy reads
    local options = { prefix = suite.prefix(), etcd = { transport = "json" } }
    d = assert(suite.dsync.open("etcd://127.0.0.1:" .. port, options))
    name = suite.name()
    path = d:lock(name):key()
    -- a connection is open and used by now, so that a lost one is met on a reused one, too
    ok(ok(d:lock "warm-up":acquire()):release())
  end)
  after_each(function()
    d:close()
    proxy:stop()
  end)

  local function nothing_left()
    suite.eventually("an empty queue", function() return #bench.keys(path .. "/") == 0 end)
    -- what was kept back by the network arrives now, and again
    for _ = 1, 2 do
      assert.is_true(tell "replay" > 0)
      assert.same({}, bench.keys(path .. "/"))
    end
    local other = suite.open()
    ok(ok(other:lock(name):acquire { wait = 0 }):release())
  end

  it("that the server gets twice is one acquisition", function()
    rule("twice", 1)
    local lock = ok(d:lock(name):acquire { wait = suite.patience })
    assert.equal(1, #bench.keys(path .. "/"))
    assert.equal(1, tell "met")
    assert.is_true(lock:held())
    assert.is_true(lock:release())
    assert.same({}, bench.keys(path .. "/"))
    ok(ok(suite.open():lock(name):acquire { wait = 0 }):release())
  end)

  for _, mode in ipairs { "mute", "closed", "late" } do
    for _, count in ipairs { 1, 3 } do
      local title = ("whose %s meets a connection that goes silent (%s)"):format(
        count == 1 and "first try" or "first tries", mode)
      it(title .. " is held once, and leaves nothing after its release", function()
        rule(mode, count)
        local lock = ok(d:lock(name):acquire { wait = suite.patience })
        assert.is_true(lock:held())
        assert.equal(count, tell "met")
        assert.equal(1, #bench.keys(path .. "/"))
        assert.is_true(lock:release())
        nothing_left()
        ok(ok(d:lock(name):acquire { wait = suite.patience }):release())
      end)
    end

    it(("given up while its answer is missing (%s) leaves nothing"):format(mode), function()
      rule(mode, 1000)
      local value, _, code = d:lock(name):acquire { wait = 0.3 }
      assert.is_nil(value)
      assert.truthy(code == "timeout" or code == "unavailable", code)
      nothing_left()
    end)

    it(("tried once while its answer is missing (%s) is never half held"):format(mode), function()
      rule(mode, 1000)
      local lock = d:lock(name)
      local value, _, code = lock:try()
      if value then
        assert.is_true(lock:held())
        assert.is_true(lock:release())
      else
        assert.is_string(code)
        assert.is_false(lock:held())
      end
      nothing_left()
    end)
  end

  it("behind a holder, with its answer lost, waits in one place", function()
    local holder = suite.open()
    local held = ok(holder:lock(name):acquire())
    rule("mute", 2)
    fails("timeout", d:lock(name):acquire { wait = 1 })
    suite.eventually("one entry", function() return #bench.keys(path .. "/") == 1 end)
    assert.is_true(tell "replay" > 0)
    suite.pause(0.1)
    assert.equal(1, #bench.keys(path .. "/"))
    assert.is_true(held:release())
    nothing_left()
  end)
end)
