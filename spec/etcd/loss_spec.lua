-- The server takes a lock away: the holder is told by the watch, at once, and with the right reason.
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_etcd"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

-- What the watch owes us: the median of 20 notices within 50 ms. (It takes about 2 ms; a single one may meet a busy
-- machine.)
local NOTICE_S = 0.050

describe("on etcd", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)

  -- Takes 20 locks of which each is then taken away by take(key); returns the times until the holder knew.
  local function times(reason, options, take)
    local list = {}
    for i = 1, 20 do
      local d = suite.open(options)
      local lock = ok(d:lock(suite.name()):acquire())
      local key = bench.keys(lock:key() .. "/")[1]
      local began = suite.now()
      take(key)
      assert.equal(reason, lock:revoked(suite.patience))
      list[i] = suite.now() - began
      assert.is_false(lock:held())
      fails("lost", lock:release())
      d:close()
    end
    return list
  end

  local function delete(key)
    bench.post("/v3/kv/deleterange", ('{"key":"%s"}'):format(tools.base64(key)))
  end

  local function revoke(key)
    bench.post("/v3/lease/revoke", ('{"ID":"%s"}'):format(tools.decimal(tools.lease_of(key))))
  end

  it("a deleted key is a loss for the reason deleted, told within 50 ms", function()
    local list = times("deleted", nil, delete)
    assert.is_true(tools.median(list) < NOTICE_S, "median " .. tools.median(list))
  end)

  it("a revoked lease is a loss for the reason session_lost, told within 50 ms", function()
    local list = times("session_lost", nil, revoke)
    assert.is_true(tools.median(list) < NOTICE_S, "median " .. tools.median(list))
  end)

  it("etcdctl's own commands do the same", function()
    local d = suite.open()
    local lock = ok(d:lock "x":acquire())
    assert(bench.server:etcdctl { "del", bench.keys(lock:key() .. "/")[1] })
    assert.equal("deleted", lock:revoked(suite.patience))
    ok(lock:acquire { wait = suite.patience })
    local key = bench.keys(lock:key() .. "/")[1]
    assert(bench.server:etcdctl { "lease", "revoke", tools.lease_of(key) })
    assert.equal("session_lost", lock:revoked(suite.patience))
    ok(lock:acquire { wait = suite.patience })
    assert.are_not.equal(tools.lease_of(key), tools.lease_of(bench.keys(lock:key() .. "/")[1]))
  end)

  it("one revoked lease ends every lock of its session, each told once", function()
    dsync.run(function()
      local d, told, count = suite.open(), {}, 0
      local locks = {}
      for i = 1, 50 do
        locks[i] = ok(d:lock("many/" .. i):acquire())
        locks[i]:on_revoked(function(_, reason)
          told[i] = (told[i] or "") .. reason
          count = count + 1
        end)
      end
      local own = ok(d:lock("own", { session = "own" }):acquire())
      revoke(bench.keys(locks[1]:key() .. "/")[1])
      suite.eventually("fifty notices", function() return count >= 50 end)
      suite.pause(0.2)
      assert.equal(50, count)
      for i = 1, 50 do assert.equal("session_lost", told[i]) end
      assert.is_true(own:held())
      ok(locks[1]:acquire { wait = suite.patience })
    end)
  end)

  it("a waiter whose session died enters again by itself", function()
    dsync.run(function()
      local a, b = suite.open(), suite.open()
      local held = ok(a:lock "x":acquire())
      local mine = bench.keys(held:key() .. "/")[1]
      local task = suite.spawn(function() return b:lock "x":acquire { wait = suite.patience } end)
      suite.until_waiting(a, "x", 1)
      local old
      for _, key in ipairs(bench.keys(held:key() .. "/")) do
        if key ~= mine then old = key end
      end
      revoke(old)
      suite.eventually("another entry", function()
        local keys = bench.keys(held:key() .. "/")
        return #keys == 2 and keys[1] ~= old and keys[2] ~= old
      end)
      assert.is_false(task.done)
      ok(held:release())
      assert.is_true(ok(suite.join(task)):held())
    end)
  end)

  it("a waiter whose entry was deleted does not wait for ever", function()
    dsync.run(function()
      local a, b = suite.open(), suite.open()
      local held = ok(a:lock "x":acquire())
      local mine = bench.keys(held:key() .. "/")[1]
      local task = suite.spawn(function() return b:lock "x":acquire { wait = suite.patience } end)
      suite.until_waiting(a, "x", 1)
      for _, key in ipairs(bench.keys(held:key() .. "/")) do
        if key ~= mine then delete(key) end
      end
      suite.until_waiting(a, "x", 1)
      ok(held:release())
      assert.is_true(ok(suite.join(task)):held())
    end)
  end)

  it("an election's leader and its observers are told as well", function()
    dsync.run(function()
      local d, other = suite.open(), suite.open()
      local elected = ok(d:leader "x":elect())
      local watcher = ok(other:watch { name = "x" })
      repeat until ok(watcher:next(suite.patience)).type == "elected"
      local reasons = {}
      elected:on_revoked(function(_, reason) reasons[#reasons + 1] = reason end)
      delete(bench.keys(d:leader "x":key() .. "/")[1])
      assert.equal("deleted", elected:revoked(suite.patience))
      local event
      repeat
        event = ok(watcher:next(suite.patience))
      until event.type == "vacant"
      suite.pause(0.05)
      assert.same({ "deleted" }, reasons)
      watcher:close()
    end)
  end)
end)
