-- Users and passwords, tokens that expire, and permissions.
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_etcd"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

local TOKEN_TTL_S = 2

describe("with auth on", function()
  local bench = tools.bench { auth = true, auth_token_ttl = TOKEN_TTL_S }
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)

  local function open(auth, options)
    options = options or {}
    options.prefix, options.auth = options.prefix or suite.prefix(), auth
    return assert(dsync.open(bench.server.url, options))
  end

  it("a user is let in", function()
    local d = suite.open()
    ok(d:ping(suite.patience))
    local lock = ok(d:lock "x":acquire())
    ok(lock:put("k", "v"))
    assert.equal("v", (d:get "k"))
    assert.equal(1, #ok(d:locks()))
    assert.is_true(lock:release())
  end)

  it("a token that expires meanwhile is not noticed", function()
    dsync.run(function()
      local d, other = suite.open { ttl = 3 }, suite.open { ttl = 3 }
      local lock = ok(d:lock "x":acquire())
      local watcher = ok(other:watch { name = "e" })
      assert.equal("vacant", ok(watcher:next(suite.patience)).type)
      local waiter = suite.spawn(function() return other:lock "x":acquire { wait = suite.patience } end)
      suite.pause(3 * TOKEN_TTL_S)
      assert.is_true(lock:held())
      ok(d:lock "y":acquire { wait = suite.patience })
      local elected = ok(d:leader "e":elect { wait = suite.patience })
      local event
      repeat
        event = ok(watcher:next(suite.patience))
      until event.type == "elected"
      assert.equal(elected:token(), event.token)
      assert.is_true(lock:release())
      assert.is_true(ok(suite.join(waiter)):held())
      assert.equal(0, d:stats().losses)
      watcher:close()
    end)
  end)

  it("tokens that are made invalid on the server are renewed", function()
    local d = suite.open()
    local lock = ok(d:lock "x":acquire())
    -- any change of users or roles makes the tokens of before invalid
    assert(bench.server:etcdctl { "role", "add", suite.name "role" })
    ok(d:lock "y":acquire { wait = suite.patience })
    assert.is_true(lock:held())
    assert.is_true(lock:release())
  end)

  it("a wrong password, an unknown user, and none at all are denied, and the password is not told", function()
    for _, auth in ipairs {
      { user = "dsync", password = "wr0ng-secret" }, { user = "nobody", password = "wr0ng-secret" }, false,
    } do
      local d = open(auth or nil)
      local message = fails("denied", d:ping(5))
      assert.is_nil(message:find("wr0ng", 1, true))
      local began = suite.now()
      message = fails("denied", d:lock "x":acquire { wait = suite.patience })
      assert.is_nil(message:find("wr0ng", 1, true))
      fails("denied", d:leader "x":elect { wait = suite.patience })
      assert.is_true(suite.now() - began < suite.patience)
      fails("denied", d:locks())
      d:close()
    end
  end)

  it("a prefix without permission is denied", function()
    local d = open(bench.server.options.auth, { prefix = "forbidden" })
    fails("denied", d:lock "x":acquire { wait = 5 })
    fails("denied", d:locks())
    d:close()
  end)

  it("a user who is deleted while holding is told that the lock is lost", function()
    local user = suite.name "user"
    local function ctl(...) assert(bench.server:etcdctl { ... }) end
    ctl("user", "add", user .. ":one")
    ctl("user", "grant-role", user, "dsync")
    local d = open { user = user, password = "one" }
    local lock = ok(d:lock "x":acquire())
    ctl("user", "delete", user)
    -- the server no longer knows this user: the lock cannot be renewed, and that is told in time, not later
    local reason = lock:revoked(suite.patience)
    assert.is_string(reason)
    assert.is_false(lock:held())
    d:close()
  end)
end)

describe("credentials", function()
  it("are not sent over plain HTTP to another host unless that is allowed", function()
    local auth = { user = "u", password = "s3cret" }
    local message = fails("config", dsync.open("etcd://192.0.2.1:2379", { auth = auth }))
    assert.truthy(message:find("allow_plaintext_credentials", 1, true), message)
    assert.is_nil(message:find("s3cret", 1, true))
    fails("config", dsync.open("etcd://127.0.0.1:2379,192.0.2.1:2379", { auth = auth }))
    fails("config", dsync.open("etcd://192.0.2.1:2379", { auth = { token = "t" } }))
    for _, where in ipairs { "etcd://127.0.0.1:2379", "etcd://localhost:2379", "etcds://192.0.2.1:2379" } do
      assert(dsync.open(where, { auth = auth })):close()
    end
    assert(dsync.open("etcd://192.0.2.1:2379", { auth = auth, allow_plaintext_credentials = true })):close()
  end)

  it("come whole or not at all", function()
    fails("config", dsync.open("etcd://127.0.0.1:2379", { auth = { user = "u" } }))
    fails("config", dsync.open("etcd://127.0.0.1:2379", { auth = { password = "p" } }))
  end)
end)
