-- Opening: chroots, credentials, addresses, settings, and a module that is not there.
local child = require "spec.support.suite_child"
local rig = require "spec.support.rig"
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_zookeeper"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

describe("zookeeper://", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)

  local function open(url, options)
    local all = { prefix = suite.prefix() }
    for name, value in pairs(options or {}) do all[name] = value end
    return dsync.open(url, all)
  end

  it("works below a chroot", function()
    local chroot = bench.path "app"
    assert(bench.kazoo:ask("create " .. chroot))
    local d, other = ok(open(bench.server.url .. chroot)), suite.open()
    ok(d:ping(5))
    local lock = ok(d:lock "x":acquire())
    assert.equal(1, #bench.children(chroot .. "/" .. lock:key()))
    local outside = ok(other:lock "x":acquire { wait = 5 }) -- another lock
    assert.is_true(lock:held() and outside:held())
    ok(lock:put("k", "v"))
    assert.equal("v", (ok(d:get "k")))
    assert.equal("x", ok(d:locks())[1].name)
    d:close()
  end)

  it("says that a chroot does not exist", function()
    local d = ok(open(bench.server.url .. "/not/there"))
    for _, message in ipairs {
      fails("config", d:ping(5)), fails("config", d:lock "x":acquire { wait = 5 }), fails("config", d:lock "x":try()),
    } do
      assert.truthy(message:find('chroot "/not/there" does not exist', 1, true), message)
    end
    d:close()
  end)

  it("takes names for its servers, and skips those that do not answer", function()
    local port = bench.server.nodes[1].port
    local dead = rig.ports(2)
    local d = ok(open(("zookeeper://localhost:%d,127.0.0.1:%d,localhost:%d"):format(dead[1], dead[2], port)))
    ok(ok(d:lock "x":acquire { wait = suite.patience }):release())
    d:close()
    d = ok(open("zookeeper://nowhere.invalid:2181"))
    local message = fails("unavailable", d:ping(2))
    assert.truthy(message:find("nowhere.invalid", 1, true), message)
    d:close()
  end)

  it("says that nobody is there, even to those who wait a short time", function()
    local reasons = { ["127.0.0.1"] = "no server can be reached", ["nowhere.invalid"] = "nowhere.invalid: " }
    local calls = {
      function(d) return d:ping(1) end,
      function(d) return d:lock "x":acquire { wait = 1 } end,
    }
    for host, reason in pairs(reasons) do
      for _, call in ipairs(calls) do
        local d = ok(open(("zookeeper://%s:%d"):format(host, rig.ports(1)[1]), { close_timeout = 0.1 }))
        local message = fails("unavailable", call(d))
        assert.truthy(message:find(reason, 1, true), message)
        d:close()
      end
    end
  end)

  it("keeps what it makes to the owner of its credentials", function()
    local d = ok(open(bench.server.url, { zookeeper = { digest = "me:secret" } }))
    local lock = ok(d:lock "x":acquire())
    ok(lock:put("k", "v"))
    assert.is_nil((bench.kazoo:ask("get /" .. suite.prefix() .. "/data/k")))
    assert.is_nil((bench.kazoo:ask("children /" .. lock:key())))
    local stranger = suite.open()
    fails("denied", stranger:lock "x":acquire { wait = 5 })
    fails("denied", stranger:get "k")
    fails("denied", stranger:locks())
    local friend = ok(open(bench.server.url, { zookeeper = { digest = "me:secret", acl = "creator" } }))
    fails("contended", friend:lock "x":try())
    assert.equal("v", (ok(friend:get "k")))
    ok(lock:release())
    ok(ok(friend:lock "x":acquire { wait = suite.patience }):release())
    friend:close()
    d:close()
  end)

  it("leaves it open to everybody where that is asked for", function()
    local d = ok(open(bench.server.url, { zookeeper = { digest = "me:secret", acl = "open" } }))
    local lock = ok(d:lock "x":acquire())
    assert.truthy(bench.kazoo:ask("acl /" .. lock:key()):find("world", 1, true))
    fails("contended", suite.open():lock "x":try())
    d:close()
  end)

  it("shows no secret", function()
    local d = ok(open(bench.server.url, { zookeeper = { digest = "me:hunter2", dialect = "kazoo" } }))
    local shown = d:options()
    local function search(value)
      if type(value) == "table" then
        for k, v in pairs(value) do search(k) search(v) end
      else
        assert.is_nil(tostring(value):find("hunter2", 1, true))
      end
    end
    search(shown)
    search(tostring(d))
    d:close()
  end)

  it("refuses settings that cannot be meant", function()
    local url = bench.server.url
    local function refuses(code, options, what, where)
      local message = fails(code, open(where or url, options))
      assert.truthy(message:find(what, 1, true), message)
    end
    refuses("config", { zookeeper = { digest = "me" } }, "user:secret")
    refuses("config", { zookeeper = { acl = "creator" } }, "digest")
    refuses("config", { zookeeper = { acl = "closed" } }, '"creator" or "open"')
    refuses("config", { zookeeper = { dialect = "zk" } }, '"curator" or "kazoo"')
    refuses("config", { auth = { user = "me", password = "secret" } }, "zookeeper = {digest")
    refuses("unsupported", { tls = { ca = "/etc/ssl/certs/ca-certificates.crt" } }, "TLS")
    refuses("config", { max_value = 2000000 }, "max_value")
    refuses("config", { zookeeper = { digest = "me:secret" } }, "allow_plaintext_credentials", "zookeeper://192.0.2.1")
    local trusted = { zookeeper = { digest = "me:secret" }, allow_plaintext_credentials = true }
    ok(open("zookeeper://192.0.2.1", trusted)):close()
    suite.raises("dialekt", dsync.open, url, { zookeeper = { dialekt = "kazoo" } })
  end)

  it("says which package to install where the module is missing", function()
    -- The Lua module in a folder of its own, with nothing beside it.
    local core = package.searchpath and package.searchpath("dsync.core", package.cpath)
    if not core then
      for pattern in package.cpath:gmatch "[^;]+" do
        local path = pattern:gsub("%?", "dsync/core")
        local file = io.open(path, "rb")
        if file then
          file:close()
          core = core or path
        end
      end
    end
    local folder = rig.tempdir() .. "/a/b/c"
    assert.equal(0, (rig.run { "mkdir", "-p", folder .. "/dsync" }))
    assert.equal(0, (rig.run { "cp", core, folder .. "/dsync/core.so" }))
    local out = child.lua([[
      package.cpath = arg[1] .. "/?.so;" .. package.cpath
      print(select(2, require "dsync".open "zookeeper://127.0.0.1"))
      assert(require "dsync".open "memory:"):close()
    ]], nil, folder)
    assert.truthy(out:find("libzookeeper-st-dev", 1, true), out)
  end)
end)
