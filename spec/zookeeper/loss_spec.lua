-- What ZooKeeper takes away, and what only looks like it: deleted nodes, expired sessions, lost connections.
local suite = require "spec.support.suite"
local in_time = require "spec.support.in_time"
local tools = require "spec.support.suite_zookeeper"
local child = require "spec.support.suite_child"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

-- What the watch owes us: the median of 20 notices. (It takes some milliseconds; a single one may meet a busy machine.)
local NOTICE_S = 0.100

describe("on ZooKeeper", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(function()
    bench.server:resume()
    if not bench.server.nodes[1].process:alive() then bench.server:restart() end -- after a failed test
    suite.cleanup()
  end)

  local function node_of(lock)
    local path = "/" .. lock:key()
    return path .. "/" .. bench.children(path)[1]
  end

  it("a node deleted by kazoo is a loss for the reason deleted, told within 100 ms", function()
    local list = {}
    for i = 1, 20 do
      local d = suite.open()
      local lock = ok(d:lock(suite.name()):acquire())
      local node = node_of(lock)
      suite.pause(0.2)
      local began = suite.now()
      assert(bench.kazoo:ask("delete " .. node))
      assert.equal("deleted", lock:revoked(suite.patience))
      list[i] = suite.now() - began
      assert.is_false(lock:held())
      fails("lost", lock:release())
      d:close()
    end
    local median = tools.median(list)
    print(("notice of a deleted node: median of 20 %.1f ms, longest %.1f ms"):format(median * 1e3, list[#list] * 1e3))
    assert.is_true(median < NOTICE_S, "median " .. median)
  end)

  it("a session's node deleted ends every lock of the session", function()
    local d = suite.open()
    local a, b = ok(d:lock "a":acquire()), ok(d:lock "b":acquire())
    suite.pause(0.1)
    local sessions = "/" .. suite.prefix() .. "/session"
    assert(bench.kazoo:ask("delete " .. sessions .. "/" .. bench.children(sessions)[1]))
    assert.equal("session_lost", a:revoked(suite.patience))
    assert.equal("session_lost", b:revoked(suite.patience))
    suite.eventually("empty queues", function() return #bench.children("/" .. a:key()) == 0 end)
    ok(a:acquire { wait = suite.patience })
  end)

  it("a waiter whose node was deleted enters again", function()
    dsync.run(function()
      local a, b = suite.open(), suite.open()
      local held = ok(a:lock "x":acquire())
      local mine = node_of(held)
      local task = suite.spawn(function() return b:lock "x":acquire { wait = suite.patience } end)
      suite.until_waiting(a, "x", 1)
      for _, name in ipairs(bench.children("/" .. held:key())) do
        local node = "/" .. held:key() .. "/" .. name
        if node ~= mine then assert(bench.kazoo:ask("delete " .. node)) end
      end
      suite.until_waiting(a, "x", 1)
      ok(held:release())
      assert.is_true(ok(suite.join(task)):held())
    end)
  end)

  it("a lost connection is suspicious at once, and harmless when it is back in time", function()
    local proxy = tools.proxy(bench.server.nodes[1].port)
    local d = ok(dsync.open("zookeeper://127.0.0.1:" .. proxy.port, { prefix = suite.prefix(), ttl = 15 }))
    local lock = ok(d:lock "x":acquire())
    local token = lock:token_string()
    suite.pause(0.2)
    assert.equal("held", lock:state())
    proxy:tell "refuse 1"
    proxy:tell "cut"
    suite.eventually("suspicion", function() return lock:state() == "suspect" end)
    assert.is_true(lock:held())
    assert.is_true(lock:valid_for() > 2.6, "only suspected when a renewal was overdue: " .. lock:valid_for())
    suite.pause(0.5)
    assert.is_true(lock:held())
    proxy:tell "refuse 0"
    suite.eventually("recovery", function() return lock:state() == "held" end)
    assert.equal(token, lock:token_string())
    assert.is_true(lock:valid_for() > 5)
    local same = ok(d:lock "x":holder())
    assert.equal(token, tostring(same.token):gsub("%.0$", ""))
    ok(lock:release())
    d:close()
    proxy:stop()
  end)

  it("a server that restarts within the session's time changes nothing for holder and waiter", function()
    dsync.run(function()
      local a, b = suite.open { ttl = 30 }, suite.open { ttl = 30 }
      local lock = ok(a:lock "x":acquire())
      local task = suite.spawn(function() return b:lock "x":acquire { wait = suite.patience } end)
      suite.until_waiting(a, "x", 1)
      bench.server:kill()
      bench.server:restart()
      suite.eventually("recovery", function() return lock:state() == "held" end)
      assert.is_true(lock:held())
      assert.is_false(task.done)
      suite.until_waiting(a, "x", 1)
      ok(lock:release())
      assert.is_true(ok(suite.join(task)):held())
      assert.equal(1, #bench.children("/" .. lock:key()))
    end)
  end)

  it("with all servers gone, the holder is told before the session's time is over", in_time(function(within)
    local ttl = 4
    local d = suite.open { ttl = ttl }
    local lock = ok(d:lock "x":acquire())
    suite.pause(0.5)
    local killed_at = suite.now()
    bench.server:kill()
    assert.is_true(lock:held())
    assert.equal("expired", lock:revoked(suite.patience))
    local after = suite.now() - killed_at
    within(ttl, after, "the notice")
    assert.is_false(lock:held())
    local began = suite.now()
    local value, _, code = d:lock "other":acquire { wait = 1 }
    assert.is_nil(value)
    assert.truthy(code == "unavailable" or code == "timeout", code)
    within(1.5, suite.now() - began, "acquire with a wait of 1 s")
    fails("unavailable", d:ping(1))
    bench.server:restart()
    ok(d:lock "x":acquire { wait = suite.patience })
  end))

  it("a session that has expired is gone, and a higher token elsewhere", function()
    local HOLDER = [[
      local dsync = require "dsync"
      local now = require "system".gettime
      local d = assert(dsync.open(arg[1], { prefix = arg[2], ttl = 2 }))
      local lock = assert(d:lock("x"):acquire())
      local calls = 0
      lock:on_revoked(function(_, reason)
        calls = calls + 1
        print("revoked " .. reason)
      end)
      print("held " .. lock:token_string())
      local last = now()
      while true do -- no call that could deliver anything: only held() itself is asked
        local at = now()
        local gap = at - last > 1.5
        last = at
        if gap then break end
      end
      print("first " .. tostring(lock:held()) .. " " .. tostring(lock:valid_for()))
      dsync.sleep(1)
      d:dispatch(0)
      print("calls " .. calls)
      print("release " .. tostring(select(3, lock:release())))
    ]]
    local d = suite.open { ttl = 2 }
    local holder = child.start(HOLDER, nil, bench.server.url, suite.prefix())
    local function said(pattern)
      local line, why, skipped = holder:expect(pattern, suite.patience)
      assert.is_string(line, ("%s: %s %s"):format(pattern, tostring(why), tostring(skipped)))
      return line:match(pattern)
    end
    local token = tonumber(said "^held (%d+)")
    suite.pause(0.2)
    holder:signal "STOP"
    local lock = ok(d:lock "x":acquire { wait = suite.patience })
    assert.is_true(lock:token() > token)
    suite.pause(2)
    holder:signal "CONT"
    local held, valid = said "^first (%a+) (%S+)"
    assert.equal("false", held)
    assert.equal(0, tonumber(valid))
    assert.truthy(said "^revoked (.+)")
    assert.equal("1", said "^calls (%d+)")
    assert.equal("lost", said "^release (%S+)")
    assert.is_true(lock:held())
    ok(lock:release())
    holder:stop()
  end)
end)
