-- Lock-delay: none after a release; after a crash it is waited for, visibly and without a busy loop.
local child = require "spec.support.suite_child"
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_consul"
local dsync, ok = suite.dsync, suite.ok

local HOLDER = [[
  local dsync = require "dsync"
  local d = assert(dsync.open(arg[1], { prefix = arg[2], ttl = 10, consul = { lock_delay = arg[4] } }))
  local lock = assert(d:lock(arg[3]):acquire())
  print("held " .. lock:token_string())
  dsync.sleep(600)
]]

describe("lock-delay", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)

  it("is not met after a release", function()
    local a, b = suite.open(), suite.open()
    for _ = 1, 10 do
      for _, client in ipairs { a, b } do
        local lock = ok(client:lock "x":acquire { wait = 10 }) -- a delay would last 15 s
        assert.equal("held", lock:state())
        assert.is_true(lock:release())
      end
    end
  end)

  it("is not met after a client closes while it holds", function()
    local a, b = suite.open(), suite.open()
    ok(a:lock "x":acquire())
    a:close()
    ok(b:lock "x":acquire { wait = 5 })
  end)

  it("follows a session that was destroyed, is shown, and passes", function()
    dsync.run(function()
      local notices = {}
      local a = suite.open { consul = { lock_delay = "4s" } }
      local b = suite.open { on_event = function(event) notices[#notices + 1] = event.message end }
      local held = ok(a:lock "x":acquire())
      local waiting = b:lock "x"
      local task = suite.spawn(function() return waiting:acquire { wait = suite.patience } end)
      suite.until_waiting(a, "x", 1)
      local began = suite.now()
      bench.must("PUT", "/v1/session/destroy/" .. bench.pair(held:key() .. "/.lock").Session)
      suite.eventually("the lock-delay", function() return waiting:state() == "lock-delay" end)
      local _, until_when = waiting:state()
      assert.truthy(until_when:match "^at most until %d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$", until_when)
      assert.is_false(task.done)
      local requests = b:stats().requests
      ok(suite.join(task))
      assert.is_true(suite.now() - began >= 3.9, "the delay was not waited for")
      assert.is_true(b:stats().requests - requests <= 20, "a busy loop: " .. b:stats().requests - requests)
      assert.equal("held", waiting:state())
      local told = 0
      for _, message in ipairs(notices) do told = told + (message:find("lock-delay", 1, true) and 1 or 0) end
      assert.equal(1, told)
    end)
  end)

  it("follows a crashed holder: twice the ttl, and the delay", function()
    local d = suite.open()
    local holder = child.start(HOLDER, nil, suite.url, suite.prefix(), "x", "2s")
    local token = assert(holder:expect("^held (%d+)", suite.patience))
    holder:signal "KILL"
    local began = suite.now()
    holder:stop(0)
    local lock = ok(d:lock "x":acquire { wait = suite.patience })
    local took = suite.now() - began
    print(("crashed holder, ttl 10 s, lock-delay 2 s: free after %.1f s"):format(took))
    assert.is_true(took >= 10)
    assert.is_true(lock:token() > tonumber(token:match "%d+"))
  end)
end)
