-- A dsync lock and `etcdctl lock` on one key exclude each other and queue fairly.
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_etcd"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

describe("etcdctl lock", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)
  local key, d
  before_each(function()
    d = suite.open()
    key = suite.prefix() .. "/native"
  end)

  -- An `etcdctl lock`; it prints the key it owns once it holds.
  local function native()
    return bench.server:etcdctl_start { "lock", key }
  end

  local function held_by_native(process)
    tools.expect(process, "^" .. suite.prefix())
  end

  local function entries(count)
    suite.eventually(count .. " entries", function() return #bench.keys(key .. "/") == count end)
  end

  it("holds, and a dsync waiter queues behind it", function()
    dsync.run(function()
      local process = native()
      held_by_native(process)
      local lock = d:lock("any", { key = key })
      fails("contended", lock:try())
      fails("timeout", lock:acquire { wait = 0.1 })
      entries(1)
      local holder = ok(lock:holder())
      assert.is_nil(holder.id)
      local task = suite.spawn(function() return lock:acquire() end)
      entries(2)
      assert.is_false(task.done)
      process:signal "INT"
      assert.is_true(ok(suite.join(task)):held())
      assert.is_true(lock:token() > holder.token)
      process:stop()
      assert.is_true(lock:held())
      entries(1)
    end)
  end)

  it("that is killed is followed when its lease ends", function()
    dsync.run(function()
      local process = bench.server:etcdctl_start { "lock", "--ttl", "2", key }
      held_by_native(process)
      local lock = d:lock("any", { key = key })
      local task = suite.spawn(function() return lock:acquire { wait = suite.patience } end)
      entries(2)
      process:signal "KILL"
      assert.is_true(ok(suite.join(task)):held())
      process:stop()
    end)
  end)

  it("waits while dsync holds", function()
    local lock = ok(d:lock("any", { key = key }):acquire())
    local process = native()
    entries(2)
    local line, why = process:line(0.3)
    assert.is_nil(line)
    assert.equal("timeout", why)
    assert.is_true(lock:release())
    held_by_native(process)
    fails("contended", lock:try())
    process:stop()
    ok(lock:acquire { wait = suite.patience })
  end)

  it("and dsync clients are served in the order in which they came", function()
    dsync.run(function()
      local a, b, order = suite.open(), suite.open(), {}
      local held = ok(d:lock("any", { key = key }):acquire())
      local function wait_in(client, label)
        return suite.spawn(function()
          local lock = ok(client:lock("any", { key = key }):acquire())
          order[#order + 1] = label
          if label == "a" then suite.pause(0.05) end
          ok(lock:release())
        end)
      end
      local first = wait_in(a, "a")
      entries(2)
      local process = native()
      entries(3)
      local third = wait_in(b, "b")
      entries(4)
      ok(held:release())
      suite.join(first)
      held_by_native(process)
      order[#order + 1] = "etcdctl"
      assert.is_false(third.done)
      process:signal "INT"
      suite.join(third)
      assert.same({ "a", "etcdctl", "b" }, order)
      process:stop()
      entries(0)
    end)
  end)

  it("runs its command with nobody else inside", function()
    dsync.run(function()
      local clean, over = true, 0
      for _ = 1, 3 do
        local process = bench.server:etcdctl_start { "lock", key, "--", "sh", "-c", "echo in; sleep 0.1; echo out" }
        dsync.spawn(function()
          for _ = 1, 3 do
            local lock = ok(d:lock("any", { key = key }):acquire { wait = suite.patience })
            suite.pause(0.02)
            clean = clean and lock:held() and #bench.keys(key .. "/") > 0
            ok(lock:release())
          end
          over = over + 1
        end)
        tools.expect(process, "^in$")
        fails("contended", suite.open():lock("any", { key = key }):try())
        tools.expect(process, "^out$")
        process:wait(suite.patience)
      end
      suite.eventually("all turns", function() return over == 3 end)
      assert.is_true(clean)
    end)
  end)

  it("and etcdctl get show what people expect to find", function()
    local lock = ok(d:lock("x", { value = { host = "h1" } }):acquire())
    local keys = bench.keys(lock:key() .. "/")
    assert.equal(1, #keys)
    assert.truthy(keys[1]:match "/%x+%-%x+$", keys[1])
    local value
    suite.eventually("acquired_at", function()
      value = bench.value(keys[1])
      return value:find "acquired_at"
    end)
    assert.truthy(value:find(('"id":"%s"'):format(d:id()), 1, true), value)
    assert.truthy(value:match '"queued_at":"%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d[%d%.]*Z"', value)
    assert.truthy(value:match '"acquired_at":"%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d[%d%.]*Z"', value)
    assert.truthy(value:find('"host":"h1"', 1, true), value)
    local token = lock:token_string()
    ok(lock:put("report", "done"))
    assert.equal("done", bench.value(suite.prefix() .. "/data/report"))
    assert.equal(token, lock:token_string())
    ok(lock:release())
    assert.same({}, bench.keys(lock:key() .. "/"))
  end)
end)
