-- A dsync lock, `consul lock` and a bare session on one key exclude each other.
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_consul"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

describe("on one key", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)
  local path, d
  before_each(function()
    d = suite.open()
    path = suite.prefix() .. "/native"
  end)

  local function lock_of(client)
    return client:lock("any", { key = path .. "/.lock" })
  end

  -- A `consul lock` whose command says that it runs, and runs until it is told to end.
  local function native(where)
    return bench.server:consul_start { "lock", where or path, "echo inside; exec sleep 600" }
  end

  local function inside(process)
    tools.expect(process, "^inside$")
  end

  it("consul lock holds, and a dsync waiter comes after it", function()
    dsync.run(function()
      local process = native()
      inside(process)
      local lock = lock_of(d)
      fails("contended", lock:try())
      fails("timeout", lock:acquire { wait = 0.2 })
      suite.eventually("no entry", function() return #bench.entries(path) == 0 end)
      local task = suite.spawn(function() return lock:acquire() end)
      suite.eventually("an entry", function() return #bench.entries(path) == 1 end)
      assert.is_false(task.done)
      process:signal "INT"
      assert.is_true(ok(suite.join(task)):held())
      assert.is_true(lock:token() > 0)
      process:stop()
      assert.is_true(lock:held())
      assert.is_true(lock:release())
    end)
  end)

  it("consul lock waits while dsync holds", function()
    local lock = ok(lock_of(d):acquire())
    local process = native()
    local line, why = process:line(0.5)
    assert.is_nil(line)
    assert.equal("timeout", why)
    assert.is_true(lock:held())
    assert.is_true(lock:release())
    inside(process)
    fails("contended", lock:try())
    process:signal "INT"
    assert.is_true(ok(lock:acquire { wait = suite.patience }):held())
    process:stop()
  end)

  it("the path of a lock by name is the prefix for consul lock", function()
    local lock = ok(d:lock "report":acquire())
    assert.is_string(bench.pair(lock:key() .. "/.lock").Session)
    local process = native(lock:key())
    assert.equal("timeout", (select(2, process:line(0.5))))
    assert.is_true(lock:release())
    inside(process)
    fails("contended", lock:try())
    process:stop()
  end)

  it("dsync clients keep their order while consul lock comes and goes", function()
    dsync.run(function()
      local order = {}
      local process = native()
      inside(process)
      local function wait_in(label, count)
        local client = suite.open()
        local task = suite.spawn(function()
          local lock = ok(lock_of(client):acquire { wait = suite.patience })
          order[#order + 1] = { label, lock:token() }
          ok(lock:release())
        end)
        suite.eventually(count .. " entries", function() return #bench.entries(path) == count end)
        return task
      end
      local tasks = { wait_in("a", 1), wait_in("b", 2), wait_in("c", 3) }
      local second = native()
      process:signal "INT"
      for _, task in ipairs(tasks) do suite.join(task) end
      inside(second)
      for i, label in ipairs { "a", "b", "c" } do
        assert.equal(label, order[i][1])
        assert.is_true(i == 1 or order[i][2] > order[i - 1][2])
      end
      process:stop()
      second:stop()
    end)
  end)

  it("consul lock's command runs with nobody else inside", function()
    dsync.run(function()
      local clean, over = true, 0
      for _ = 1, 3 do
        local process = bench.server:consul_start { "lock", path, "echo in; sleep 0.1; echo out" }
        dsync.spawn(function()
          for _ = 1, 3 do
            local lock = ok(lock_of(d):acquire { wait = suite.patience })
            local session = bench.pair(path .. "/.lock").Session
            suite.pause(0.02)
            clean = clean and lock:held() and bench.pair(path .. "/.lock").Session == session
            ok(lock:release())
          end
          over = over + 1
        end)
        tools.expect(process, "^in$")
        fails("contended", lock_of(suite.open()):try())
        tools.expect(process, "^out$")
        process:wait(suite.patience)
        process:stop()
      end
      suite.eventually("all turns", function() return over == 3 end)
      assert.is_true(clean)
    end)
  end)

  it("a bare session holds, and lets go", function()
    dsync.run(function()
      local session, key = bench.session { TTL = "60s", LockDelay = "1ns" }, suite.prefix() .. "/plain"
      assert.is_true(bench.must("PUT", ("/v1/kv/%s?acquire=%s"):format(key, session), "mine"))
      local lock = d:lock("any", { key = key })
      fails("contended", lock:try())
      local task = suite.spawn(function() return lock:acquire { wait = suite.patience } end)
      suite.pause(0.3)
      assert.is_false(task.done)
      assert.equal(session, bench.pair(key).Session)
      assert.is_true(bench.must("PUT", ("/v1/kv/%s?release=%s"):format(key, session)))
      assert.is_true(ok(suite.join(task)):held())
      assert.is_false(bench.must("PUT", ("/v1/kv/%s?acquire=%s"):format(key, session), "mine"))
      assert.is_true(lock:release())
      assert.is_true(bench.must("PUT", ("/v1/kv/%s?acquire=%s"):format(key, session), "mine"))
      bench.must("PUT", "/v1/session/destroy/" .. session)
    end)
  end)

  it("a value put over a held lock changes nothing for its holder", function()
    local lock = ok(lock_of(d):acquire())
    local token = lock:token_string()
    assert(bench.server:consul { "kv", "put", path .. "/.lock", "graffiti" })
    suite.pause(0.5)
    assert.is_true(lock:held())
    assert.equal(token, lock:token_string())
    fails("contended", lock_of(suite.open()):try())
    ok(lock:put("report", "done"))
    assert.is_true(lock:release())
    local next_one = ok(lock_of(suite.open()):acquire { wait = suite.patience })
    assert.is_true(next_one:token() > lock:token())
  end)

  it("consul kv shows what people expect to find", function()
    local lock = ok(d:lock("x", { value = { host = "h1" } }):acquire())
    local value
    suite.eventually("acquired_at", function()
      value = assert(bench.server:consul { "kv", "get", lock:key() .. "/.lock" })
      return value:find "acquired_at"
    end)
    assert.truthy(value:find(('"id":"%s"'):format(d:id()), 1, true), value)
    assert.truthy(value:find('"host":"h1"', 1, true), value)
    assert.equal(1, #bench.entries(lock:key()))
    ok(lock:put("report", "done"))
    assert.equal("done\n", assert(bench.server:consul { "kv", "get", suite.prefix() .. "/data/report" }))
    ok(lock:release())
    assert.same({}, bench.entries(lock:key()))
  end)
end)
