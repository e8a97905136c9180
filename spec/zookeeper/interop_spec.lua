-- A dsync lock or leader and kazoo's on one path exclude each other and queue fairly; so do Curator's names.
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_zookeeper"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

describe("kazoo", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)
  local path, d, kazoo
  before_each(function()
    d = suite.open { zookeeper = { dialect = "kazoo" } }
    path, kazoo = bench.path(), bench.kazoo
  end)

  it("holds a lock, and a dsync waiter queues behind it", function()
    dsync.run(function()
      kazoo:ask("lock k1 " .. path)
      kazoo:expect "held k1"
      local lock = d:lock("any", { key = path })
      fails("contended", lock:try())
      fails("timeout", lock:acquire { wait = 0.1 })
      bench.entries(path, 1)
      assert.equal("k1", ok(lock:holder()).value)
      local token = lock:holder().token
      local task = suite.spawn(function() return lock:acquire { wait = suite.patience } end)
      bench.entries(path, 2)
      assert.is_false(task.done)
      kazoo:ask "release k1"
      assert.is_true(ok(suite.join(task)):held())
      assert.is_true(lock:token() > token)
      ok(lock:release())
    end)
  end)

  it("waits while dsync holds a lock", function()
    local lock = ok(d:lock("any", { key = path }):acquire())
    kazoo:ask("lock k2 " .. path)
    bench.entries(path, 2)
    suite.pause(0.3)
    assert.is_false(kazoo:said "held k2")
    assert.is_true(lock:held())
    ok(lock:release())
    kazoo:expect "held k2"
    fails("contended", lock:try())
    kazoo:ask "release k2"
    kazoo:expect "released k2"
    ok(lock:acquire { wait = suite.patience })
    ok(lock:release())
  end)

  it("and dsync are served in the order in which they came", function()
    dsync.run(function()
      local order, other = {}, suite.open { zookeeper = { dialect = "kazoo" } }
      local held = ok(d:lock("any", { key = path }):acquire())
      local function wait_in(client, label)
        return suite.spawn(function()
          local lock = ok(client:lock("any", { key = path }):acquire { wait = suite.patience })
          order[#order + 1] = label
          ok(lock:release())
        end)
      end
      kazoo:ask("lock k3 " .. path)
      bench.entries(path, 2)
      local first = wait_in(other, "a")
      bench.entries(path, 3)
      kazoo:ask("lock k4 " .. path)
      bench.entries(path, 4)
      local last = wait_in(d, "b")
      bench.entries(path, 4) -- it waits in the client for its own lock
      ok(held:release())
      kazoo:expect "held k3"
      order[#order + 1] = "k3"
      kazoo:ask "release k3"
      suite.join(first)
      kazoo:expect "held k4"
      order[#order + 1] = "k4"
      assert.is_false(last.done)
      kazoo:ask "release k4"
      suite.join(last)
      assert.same({ "k3", "a", "k4", "b" }, order)
      bench.entries(path, 0)
    end)
  end)

  it("and dsync lead one after the other", function()
    dsync.run(function()
      kazoo:ask("elect e1 " .. path)
      kazoo:expect "elected e1"
      local leader = d:leader("any", { key = path })
      assert.equal("e1", ok(leader:leader()).value)
      local task = suite.spawn(function() return leader:elect { wait = suite.patience } end)
      bench.entries(path, 2)
      assert.equal(2, #ok(leader:members()))
      kazoo:ask("elect e2 " .. path)
      bench.entries(path, 3)
      assert.is_false(task.done)
      kazoo:ask "resign e1"
      local elected = ok(suite.join(task))
      assert.is_true(elected:held())
      suite.pause(0.2)
      assert.is_false(kazoo:said "elected e2")
      ok(elected:resign())
      kazoo:expect "elected e2"
      kazoo:ask "resign e2"
      kazoo:expect "resigned e2"
    end)
  end)

  it("'s entries are refused in the dialect of Curator, and Curator's in that of kazoo", function()
    local curator = suite.open()
    kazoo:ask("lock k5 " .. path)
    kazoo:expect "held k5"
    local message = fails("config", curator:lock("any", { key = path }):acquire { wait = 5 })
    assert.truthy(message:find("kazoo", 1, true) and message:find("dialect", 1, true), message)
    fails("config", curator:lock("any", { key = path }):try())
    bench.entries(path, 1)
    kazoo:ask "release k5"
    bench.entries(path, 0)
    local held = ok(curator:lock("any", { key = path }):acquire())
    message = fails("config", d:lock("any", { key = path }):acquire { wait = 5 })
    assert.truthy(message:find("Curator", 1, true), message)
    bench.entries(path, 1)
    assert.is_true(held:held())
    ok(held:release())
  end)

  it("sees nodes of the names that Curator's recipes make", function()
    local curator = suite.open()
    local lock = ok(curator:lock("any", { key = path }):acquire())
    assert.truthy(bench.children(path)[1]:match "^_c_%x+%-lock%-%d%d%d%d%d%d%d%d%d%d$", bench.children(path)[1])
    ok(lock:release())
    local elected = ok(curator:leader("any", { key = path }):elect())
    assert.truthy(bench.children(path)[1]:match "^_c_%x+%-latch%-%d%d%d%d%d%d%d%d%d%d$", bench.children(path)[1])
    ok(elected:resign())
  end)

  it("plays a Curator mutex: dsync waits behind its node, and not behind readers and writers", function()
    dsync.run(function()
      local curator = suite.open()
      local lock = curator:lock("any", { key = path })
      kazoo:ask("seq " .. path .. "/_c_0e0b2f9c-1111-4222-8333-444455556666-__READ__")
      kazoo:ask("seq " .. path .. "/_c_0e0b2f9c-1111-4222-8333-444455556666-__WRIT__")
      ok(lock:acquire { wait = suite.patience })
      ok(lock:release())
      local node = kazoo:ask("seq " .. path .. "/_c_0e0b2f9c-1111-4222-8333-444455556666-lock-")
      local task = suite.spawn(function() return lock:acquire { wait = suite.patience } end)
      bench.entries(path, 4)
      local behind = kazoo:ask("seq " .. path .. "/lock-") -- an old Curator's, without protection
      assert.is_false(task.done)
      kazoo:ask("delete " .. node)
      assert.is_true(ok(suite.join(task)):held())
      ok(lock:release())
      fails("contended", lock:try())
      kazoo:ask("delete " .. behind)
      ok(lock:try())
      ok(lock:release())
    end)
  end)

  it("and dsync show each other their values", function()
    local lock = ok(d:lock("x", { key = path, value = { host = "h1" } }):acquire())
    local node = path .. "/" .. bench.children(path)[1]
    local value
    suite.eventually("acquired_at", function()
      value = kazoo:ask("get " .. node)
      return value:find "acquired_at"
    end)
    assert.truthy(value:find('"host":"h1"', 1, true), value)
    ok(lock:put("report", "done"))
    assert.equal("done", kazoo:ask("get /" .. suite.prefix() .. "/data/report"))
    ok(lock:delete "report")
    assert.is_nil((kazoo:ask("get /" .. suite.prefix() .. "/data/report")))
    ok(lock:release())
  end)
end)
