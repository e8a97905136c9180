-- Answers that do not come: every request that changes something is executed once, whether its answer comes or not, and
-- nothing hangs on a server that has stopped listening.
local child = require "spec.support.suite_child"
local suite = require "spec.support.suite"
local in_time = require "spec.support.in_time"
local tools = require "spec.support.suite_zookeeper"
local dsync, ok = suite.dsync, suite.ok

local DELETE, MULTI, CREATE = 2, 14, 15

-- A program that ends with calls under way: enough to fill every buffer to the server.
local ENDS = [[
  local dsync = require "dsync"
  local now = require "system".monotime
  local d = assert(dsync.open(arg[1], { prefix = arg[2], ttl = 30, close_timeout = 1 }))
  local lock = assert(d:lock(arg[3]):acquire())
  assert(lock:put("warm", "x"))
  print "ready"
  io.read "*l"
  dsync.run(function()
    for i = 1, 400 do
      dsync.spawn(function() lock:put("k" .. i, ("x"):rep(60000)) end)
      dsync.spawn(function() d:lock("y" .. i):acquire { wait = 60 } end)
    end
    dsync.spawn(function() d:ping(60) end)
    dsync.sleep(0.2)
    print(("ends %.6f"):format(now()))
    os.exit(7, true)
  end)
]]

describe("behind a connection that breaks", function()
  local bench = tools.bench()
  local proxy
  setup(bench.start)
  teardown(bench.stop)
  before_each(function() proxy = tools.proxy(bench.server.nodes[1].port) end)
  after_each(function()
    suite.cleanup()
    proxy:stop()
  end)

  local function open(options)
    local all = { prefix = suite.prefix(), ttl = 15 }
    for name, value in pairs(options or {}) do all[name] = value end
    return ok(dsync.open("zookeeper://127.0.0.1:" .. proxy.port, all))
  end

  -- A client whose session is there, so that the next create is an entry's.
  local function warm()
    local d = open()
    ok(ok(d:lock "warm":acquire()):release())
    return d
  end

  local function entries_of(lock)
    return #bench.children("/" .. lock:key())
  end

  it("a lock whose creation was not answered is held once, with one node", function()
    for _ = 1, 5 do
      local d = warm()
      local lock = d:lock(suite.name())
      ok(ok(lock:acquire()):release()) -- the nodes above are there: what is lost now has made an entry
      local met = proxy:tell("lose " .. CREATE .. " 1")
      ok(lock:acquire { wait = suite.patience })
      assert.equal(met + 1, proxy:tell "met")
      assert.is_true(lock:held())
      assert.equal(1, entries_of(lock))
      ok(lock:release())
      suite.eventually("no node", function() return entries_of(lock) == 0 end)
      d:close()
    end
  end)

  it("a lock given up while its creation was not answered leaves no node", function()
    local holder = suite.open()
    for _ = 1, 5 do
      local d = warm()
      local name = suite.name()
      local held = ok(holder:lock(name):acquire())
      proxy:tell("lose " .. CREATE .. " 2")
      local value, _, code = d:lock(name):acquire { wait = 0.05 }
      assert.is_nil(value)
      assert.truthy(code == "timeout" or code == "unavailable", code)
      suite.eventually("one node", function() return entries_of(held) == 1 end)
      suite.pause(0.3)
      assert.equal(1, entries_of(held))
      ok(held:release())
      d:close()
    end
  end)

  it("a creation that was never sent is tried again", function()
    local d = warm()
    proxy:tell("unsent " .. CREATE .. " 2")
    local lock = ok(d:lock "x":acquire { wait = suite.patience })
    assert.equal(1, entries_of(lock))
    d:close()
  end)

  it("a release that was not answered is confirmed", function()
    local d = warm()
    local lock = ok(d:lock "x":acquire())
    proxy:tell("lose " .. DELETE .. " 1")
    ok(lock:release())
    assert.equal(0, entries_of(lock))
    d:close()
  end)

  it("a lock handed to a waiter of the same client goes there once", function()
    dsync.run(function()
      local d = warm()
      local lock = ok(d:lock "x":acquire())
      local token = lock:token()
      local task = suite.spawn(function() return d:lock "x":acquire { wait = suite.patience } end)
      suite.pause(0.1)
      proxy:tell("lose " .. MULTI .. " 1")
      ok(lock:release())
      local second = ok(suite.join(task))
      assert.is_true(second:held() and second:token() > token)
      assert.equal(1, entries_of(lock))
      ok(second:release())
      suite.eventually("no node", function() return entries_of(lock) == 0 end)
      d:close()
    end)
  end)

  it("a guarded write that was not answered is applied", function()
    local d = warm()
    local lock = ok(d:lock "x":acquire())
    ok(lock:put("k", "one"))
    proxy:tell("lose " .. MULTI .. " 1")
    ok(lock:put("k", "two"))
    assert.equal("two", (ok(d:get "k")))
    ok(lock:release())
    d:close()
  end)

  it("what no server says breaks the connection, not the program", function()
    for _, what in ipairs { "unasked", "short", "endless" } do
      local d = open { ttl = 30 }
      local lock = ok(d:lock(what):acquire())
      local token = lock:token_string()
      suite.pause(0.3) -- nothing is under way
      local taken = proxy:tell "taken"
      proxy:tell("say " .. what)
      suite.eventually(what .. ": another connection", function() return proxy:tell "taken" > taken end)
      ok(lock:put("k", what))
      assert.equal(what, (ok(d:get "k")))
      assert.equal(token, lock:token_string())
      assert.equal("held", lock:state())
      ok(lock:release())
      d:close()
    end
  end)

  it("close with calls under way is over in time, also when the server has stopped reading", in_time(function(within)
    for _, how in ipairs { "deaf", "stopped" } do
      local d = open { close_timeout = 1, ttl = 30 }
      local lock = ok(d:lock(how):acquire())
      ok(lock:put("warm", "x"))
      if how == "deaf" then proxy:tell "deaf 1" else bench.server:pause() end
      -- Enough to fill every buffer on the way.
      dsync.run(function()
        for i = 1, 400 do
          dsync.spawn(function() lock:put("k" .. i, ("x"):rep(60000)) end)
        end
        suite.pause(0.2)
        local began = suite.now()
        local closed, _, code = d:close()
        local took = suite.now() - began
        within(1.5, took, how .. ": close")
        assert.is_nil(closed)
        assert.equal("unknown", code)
      end)
      if how == "deaf" then proxy:tell "deaf 0" else bench.server:resume() end
    end
  end))

  it("a program that ends with calls under way is over in time, also with a stopped server", in_time(function(within)
    for _, how in ipairs { "deaf", "stopped" } do
      local program = child.start(ENDS, nil, "zookeeper://127.0.0.1:" .. proxy.port, suite.prefix(), how)
      assert(program:expect("^ready", suite.patience))
      if how == "deaf" then proxy:tell "deaf 1" else bench.server:pause() end
      program:write "go\n"
      local began = tonumber(assert(program:expect("^ends", suite.patience)):match "%S+$")
      assert.equal(7, program:wait(suite.patience))
      local took = suite.now() - began
      if how == "deaf" then proxy:tell "deaf 0" else bench.server:resume() end
      within(1.5, took, how .. ": lua_close")
    end
  end))
end)
