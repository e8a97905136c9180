-- The server takes a lock away: the holder is told at once, and with the right reason.
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_consul"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

-- What the blocking query owes us: the median of 20 notices within 100 ms. (A single one may meet a busy machine.)
local NOTICE_S = 0.100

describe("on Consul", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)

  local function native_of(lock)
    return lock:key() .. "/.lock"
  end

  local function delete(lock)
    bench.must("DELETE", bench.kv(native_of(lock)))
  end

  local function destroy(lock)
    bench.must("PUT", "/v1/session/destroy/" .. bench.pair(native_of(lock)).Session)
  end

  -- Takes 20 locks of which each is then taken away; prints the median of the times until the holder knew.
  local function median_time(reason, take)
    local list = {}
    for i = 1, 20 do
      local d = suite.open { consul = { lock_delay = 0 } }
      local lock = ok(d:lock(suite.name()):acquire())
      suite.pause(0.02)
      local began = suite.now()
      take(lock)
      assert.equal(reason, lock:revoked(suite.patience))
      list[i] = suite.now() - began
      assert.is_false(lock:held())
      fails("lost", lock:release())
      d:close()
    end
    local median = tools.median(list)
    print(("%s: told after %.1f ms (median of 20)"):format(reason, median * 1e3))
    return median
  end

  it("a deleted key is a loss for the reason deleted, told within 100 ms", function()
    assert.is_true(median_time("deleted", delete) < NOTICE_S)
  end)

  it("a destroyed session is a loss for the reason session_lost, told within 100 ms", function()
    assert.is_true(median_time("session_lost", destroy) < NOTICE_S)
  end)

  it("consul's own command does the same, and the lock can be had again", function()
    local d = suite.open()
    local lock = ok(d:lock "x":acquire())
    assert(bench.server:consul { "kv", "delete", native_of(lock) })
    assert.equal("deleted", lock:revoked(suite.patience))
    ok(lock:acquire { wait = suite.patience })
    assert(bench.server:consul { "kv", "delete", "-recurse", lock:key() .. "/" })
    assert.equal("deleted", lock:revoked(suite.patience))
    ok(lock:acquire { wait = suite.patience })
    assert.is_true(lock:release())
    assert.same({}, bench.entries(lock:key()))
  end)

  it("one destroyed session ends every lock of it, each told once", function()
    dsync.run(function()
      local d, told, count = suite.open { consul = { lock_delay = 0 } }, {}, 0
      local locks = {}
      for i = 1, 50 do
        locks[i] = ok(d:lock("many/" .. i):acquire())
        locks[i]:on_revoked(function(_, reason)
          told[i] = (told[i] or "") .. reason
          count = count + 1
        end)
      end
      local own = ok(d:lock("own", { session = "own" }):acquire())
      destroy(locks[1])
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
      local a, b = suite.open(), suite.open { consul = { lock_delay = 0 } }
      local held = ok(a:lock "x":acquire())
      local task = suite.spawn(function() return b:lock "x":acquire { wait = suite.patience } end)
      suite.until_waiting(a, "x", 1)
      local session, old = bench.pair(native_of(held)).Session, nil
      for _, key in ipairs(bench.entries(held:key())) do
        if bench.pair(key).Session ~= session then old = key end
      end
      bench.must("PUT", "/v1/session/destroy/" .. bench.pair(old).Session)
      suite.eventually("another entry", function()
        local keys = bench.entries(held:key())
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
      local task = suite.spawn(function() return b:lock "x":acquire { wait = suite.patience } end)
      suite.until_waiting(a, "x", 1)
      local session = bench.pair(native_of(held)).Session
      for _, key in ipairs(bench.entries(held:key())) do
        if bench.pair(key).Session ~= session then bench.must("DELETE", bench.kv(key)) end
      end
      suite.until_waiting(a, "x", 1)
      ok(held:release())
      assert.is_true(ok(suite.join(task)):held())
    end)
  end)

  it("a lock whose queue entry an operator removed is free after its release", function()
    local a, b = suite.open(), suite.open()
    local held = ok(a:lock "x":acquire())
    bench.must("DELETE", bench.kv(bench.entries(held:key())[1]))
    fails("contended", b:lock "x":try())
    held:release()
    ok(b:lock "x":acquire { wait = suite.patience })
  end)

  it("a holder whose queue entry alone was removed is told with its next renewal", function()
    local a, b = suite.open { ttl = 10 }, suite.open()
    local held = ok(a:lock "x":acquire())
    suite.pause(0.1)
    bench.must("DELETE", bench.kv(bench.entries(held:key())[1]))
    assert.equal("deleted", held:revoked(suite.patience))
    ok(b:lock "x":acquire { wait = suite.patience })
  end)

  it("waiters stand in line anew when their mark was removed, and tokens keep growing", function()
    dsync.run(function()
      local a, b, c = suite.open(), suite.open(), suite.open()
      local held = ok(a:lock "x":acquire())
      local tokens = { held:token() }
      local function cycle(d)
        local lock = ok(d:lock "x":acquire { wait = suite.patience })
        tokens[#tokens + 1] = lock:token()
        ok(lock:release())
      end
      local task = suite.spawn(cycle, b)
      suite.until_waiting(a, "x", 1)
      bench.must("DELETE", bench.kv(held:key() .. "/.waiting"))
      ok(held:release())
      cycle(c)
      suite.join(task)
      assert.is_true(tokens[1] < tokens[2] and tokens[2] < tokens[3])
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
      delete(d:leader "x")
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
