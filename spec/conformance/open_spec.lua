-- Opening, asking about, and closing a client.
local suite = require "spec.support.suite"
local dsync, fails = suite.dsync, suite.fails

describe("a client", function()
  after_each(suite.cleanup)

  it("opens without asking the server and answers a ping", function()
    local d = suite.open()
    assert.is_true(suite.ok(d:ping(suite.patience)) and true)
  end)

  it("takes everything from one table too", function()
    local url = suite.url
    local options = { url = url, prefix = suite.prefix() }
    if suite.backend == "memory" then
      local d = assert(dsync.open(options))
      assert.truthy(d:lock("x"):acquire { wait = 0 })
      d:close()
    end
  end)

  it("has an id of its own, or the one it was given", function()
    local a, b = suite.open(), suite.open()
    assert.is_string(a:id())
    assert.are_not.equal(a:id(), b:id())
    assert.equal("node-7", suite.open({ id = "node-7" }):id())
  end)

  it("names its backend when printed", function()
    assert.truthy(tostring(suite.open()):find(suite.backend, 1, true))
  end)

  it("names its backend and where its servers are", function()
    local d = suite.open()
    assert.equal(suite.backend, d:backend())
    local list = d:endpoints()
    assert.truthy(#list > 0)
    for _, endpoint in ipairs(list) do
      assert.truthy(tostring(d):find(endpoint, 1, true), endpoint)
      assert.is_nil(endpoint:find "[,%s]")
    end
  end)

  it("shows its effective options", function()
    local d = suite.open { ttl = 20, wait = 3, namespace = "jobs", id = "me" }
    local options = d:options()
    assert.equal(20, options.ttl)
    assert.equal(3, options.wait)
    assert.equal("jobs", options.namespace)
    assert.equal("me", options.id)
    assert.equal(suite.prefix(), options.prefix)
    assert.equal(2.5, options.request_timeout)
    assert.is_false(options.allow_plaintext_credentials)
  end)

  it("shows them as they can be given to open again", function()
    local given = { etcd = { transport = "json" }, consul = { lock_delay = "5s", datacenter = "dc1" }, ttl = 20 }
    local options = dsync.open("memory:", given):options()
    assert.same(given.etcd, options.etcd)
    assert.same(given.consul, options.consul)
    assert.same(options, dsync.open(options):options())
  end)

  it("never shows a secret", function()
    local d = suite.try_open({ auth = { user = "root", password = "s3cr3t-word" } })
    if not d then return end -- a backend may refuse to be given a password
    local function look(value, seen)
      if type(value) == "table" then
        for k, v in pairs(value) do
          look(k, seen)
          look(v, seen)
        end
      else
        assert.is_nil(tostring(value):find("s3cr3t", 1, true))
      end
    end
    look(d:options())
    look(tostring(d))
  end)

  it("counts what it does", function()
    local d = suite.open()
    local before = d:stats()
    local lock = suite.ok(d:lock(suite.name()):acquire())
    local during = d:stats()
    suite.ok(lock:release())
    local after = d:stats()
    assert.equal(before.acquisitions + 1, during.acquisitions)
    assert.equal(1, during.held)
    assert.equal(0, after.held)
    assert.equal(before.releases + 1, after.releases)
    assert.equal(0, after.losses)
  end)

  it("has a descriptor to poll and delivers on request", function()
    local d = suite.open()
    assert.is_number(suite.ok(d:fd()))
    d:dispatch()
    d:dispatch(0.01)
  end)

  it("releases what it holds when it is closed, and may be closed twice", function()
    local a, b = suite.open(), suite.open()
    local name = suite.name()
    local lock = suite.ok(a:lock(name):acquire())
    suite.ok(a:close())
    suite.ok(a:close())
    assert.is_false(lock:held())
    assert.equal(0, lock:valid_for())
    suite.ok(b:lock(name):acquire { wait = suite.patience })
  end)

  it("answers closed after it was closed", function()
    local d = suite.open()
    local lock, leader = d:lock "a", d:leader "b"
    d:close()
    fails("closed", lock:acquire())
    fails("closed", lock:try())
    fails("closed", leader:elect())
    fails("closed", leader:leader())
    fails("closed", d:acquire "c")
    fails("closed", d:get "k")
    fails("closed", d:locks())
    fails("closed", d:members())
    fails("closed", d:ping(1))
    assert.is_false(lock:held())
    assert.is_string(tostring(d))
  end)

  it("wakes everybody who waits when it is closed", function()
    dsync.run(function()
      local a, b = suite.open(), suite.open()
      local name = suite.name()
      suite.ok(a:lock(name):acquire())
      local lock = suite.spawn(function() return b:lock(name):acquire() end)
      local second = suite.spawn(function() return b:lock(name):acquire() end)
      local leader = suite.spawn(function()
        suite.ok(a:leader(name):elect())
        return b:leader(name):elect()
      end)
      suite.until_waiting(a, name, 1)
      suite.eventually("a candidate", function() return #suite.ok(a:leader(name):members()) == 2 end)
      b:close()
      fails("closed", suite.join(lock))
      fails("closed", suite.join(second))
      fails("closed", suite.join(leader))
      -- and nothing of it stays behind
      suite.until_waiting(a, name, 0)
      assert.equal(1, #suite.ok(a:leader(name):members()))
    end)
  end)

  it("tells its locks that it was closed", function()
    dsync.run(function()
      local d = suite.open()
      local lock = suite.ok(d:lock(suite.name()):acquire())
      local reasons = {}
      lock:on_revoked(function(_, reason) reasons[#reasons + 1] = reason end)
      local waiting = suite.spawn(function() return lock:revoked() end)
      suite.pause(0.02)
      d:close()
      assert.equal("closed", suite.join(waiting))
      suite.eventually("the callback", function() return #reasons > 0 end)
      suite.pause(0.05)
      assert.same({ "closed" }, reasons)
    end)
  end)
end)

describe("the address", function()
  after_each(suite.cleanup)

  it("is taken from DSYNC_URL when none is given", function()
    local child = require "spec.support.suite_child" -- the environment belongs to the process
    local out = child.lua([[
      local dsync = require "dsync"
      local d = assert(dsync.open())
      io.write(tostring(d))
      d:close()
    ]], { DSYNC_URL = "memory:from-env" })
    assert.truthy(out:find("memory", 1, true), out)
  end)

  for _, bad in ipairs {
    "nonsense", "gopher://h", "etcd://", "etcd://user:pw@127.0.0.1:2379", "etcd://127.0.0.1:0",
    "etcd://127.0.0.1:99999", "etcd://127.0.0.1:2379/path?query", "etcd://exa mple",
  } do
    it(("is refused when it is %q"):format(bad), function()
      local message = fails("config", dsync.open(bad))
      assert.is_nil(message:find("pw", 1, true))
    end)
  end

  it("must be a string or a table", function()
    suite.raises("url", dsync.open, 42)
    suite.raises("options", dsync.open, "memory:", 42)
  end)
end)
