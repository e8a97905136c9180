-- Programming errors are raised, with the argument's name and a hint; nothing is changed by them.
local suite = require "spec.support.suite"
local dsync, raises = suite.dsync, suite.raises

describe("an unknown option", function()
  after_each(suite.cleanup)

  it("is refused at open with the nearest spelling", function()
    local err = raises("prefx", suite.try_open, { prefx = "a" })
    assert.truthy(err:find("prefix", 1, true))
    err = raises("retry_intervall", suite.try_open, { retry_intervall = 1 })
    assert.truthy(err:find("retry_interval", 1, true))
  end)

  it("is refused in nested tables", function()
    local err = raises("insecure_skip_verfy", suite.try_open, { tls = { insecure_skip_verfy = true } })
    assert.truthy(err:find("insecure_skip_verify", 1, true))
    raises("pasword", suite.try_open, { auth = { pasword = "x" } })
  end)

  it("is refused by every call", function()
    local d = suite.open()
    local lock, leader = d:lock "a", d:leader "b"
    local cases = {
      { "tttl", "ttl", function() d:lock("a", { tttl = 1 }) end },
      { "namespce", "namespace", function() d:leader("a", { namespce = "x" }) end },
      { "waitt", "wait", function() lock:acquire { waitt = 1 } end },
      { "cancle", "cancel", function() lock:acquire { cancle = dsync.canceller() } end },
      { "wiat", "wait", function() leader:elect { wiat = 1 } end },
      { "vlaue", "value", function() d:acquire("a", { vlaue = "x" }) end },
      { "prefxi", "prefix", function() d:locks { prefxi = "x" } end },
      { "namspace", "namespace", function() d:members { namspace = "x" } end },
      { "nmae", "name", function() d:watch { nmae = "x" } end },
      { "tokn", "token", function() d:break_lock("a", { tokn = 1 }) end },
      { "on_acquird", "on_acquired", function() lock:keep { on_acquird = print } end },
      { "on_electd", "on_elected", function() leader:run { on_electd = print } end },
    }
    for _, case in ipairs(cases) do
      local err = raises(case[1], case[3])
      assert.truthy(err:find(case[2], 1, true), err)
    end
    assert.equal("idle", lock:state())
    assert.equal("follower", leader:status())
    assert.equal(0, #suite.ok(d:locks()))
  end)
end)

describe("a wrong type", function()
  after_each(suite.cleanup)

  it("is named at open", function()
    for name, value in pairs {
      prefix = 1, ttl = "15", wait = true, id = {}, namespace = 5, endpoints = "h", tls = "yes", auth = true,
      on_event = "f", max_value = "big", raw = 1, region = true, retry_interval = {}, close_timeout = "2",
    } do
      raises(name, suite.try_open, { [name] = value })
    end
  end)

  it("is named by the calls", function()
    local d = suite.open()
    local lock = d:lock "a"
    raises("name", d.lock, d, nil)
    raises("name", d.lock, d, {})
    raises("name", d.leader, d, 12)
    raises("options", d.lock, d, "a", "ttl")
    raises("wait", lock.acquire, lock, { wait = "1" })
    raises("value", lock.acquire, lock, { value = 5 })
    raises("cancel", lock.acquire, lock, { cancel = true })
    raises("fn", lock.on_revoked, lock, "f")
    raises("fn", d.with_lock, d, "a", {}, nil)
    raises("token", d.break_lock, d, "a", { token = "many" })
    raises("token", d.break_lock, d, "a", {})
    raises("key", d.get, d, nil)
    raises("on_acquired", lock.keep, lock, { on_acquired = 1 })
    assert.equal("idle", lock:state())
  end)

  it("is named for a token that is none, whether text or number", function()
    local d = suite.open()
    local function try(token) raises('break_lock: option "token"', d.break_lock, d, "a", { token = token }) end
    try "9223372036854775808"
    try(("9"):rep(30))
    try(2 ^ 60) -- some other token may have become this number
    try(1.5)
    suite.fails("not_held", d:break_lock("a", { token = "0009223372036854775807" }))
  end)

  it("is named for a URL with a zero byte", function()
    raises("open: url must not contain a zero byte", dsync.open, "memory:a\0b")
  end)

  it("is told without the value where that may be a secret", function()
    for _, options in ipairs {
      { auth = "hunter2" }, { auth = { password = "hunter2\0" } }, { auth = { token = "hunter2\0" } },
      { auth = { password = 4711 } }, { zookeeper = { digest = "hunter2\0" } },
    } do
      local err = raises('option "[%w.]+" must', suite.try_open, options)
      assert.is_nil(err:find "hunter2" or err:find "4711", err)
    end
  end)

  it("a method without its object says so", function()
    local d = suite.open()
    local lock = d:lock "a"
    assert.is_false(pcall(d.lock, "a"))
    assert.is_false(pcall(lock.acquire))
    assert.is_false(pcall(lock.acquire, d))
    assert.is_false(pcall(d.close, lock))
  end)
end)

describe("a duration", function()
  after_each(suite.cleanup)

  local nan = 0 / 0
  for _, name in ipairs { "ttl", "wait", "hold", "retry_interval", "connect_timeout", "request_timeout" } do
    it(name .. " must be a sensible number of seconds", function()
      raises(name, suite.try_open, { [name] = -1 })
      raises(name, suite.try_open, { [name] = nan })
      raises(name, suite.try_open, { [name] = "soon" })
    end)
  end

  it("must be finite; that it can be left out is said only where that means no limit", function()
    local lock = suite.open():lock "a"
    raises("leave it out to have no limit", lock.acquire, lock, { wait = 1 / 0 })
    raises("leave it out to have no limit", suite.try_open, { hold = 1 / 0 })
    local function plainly(...) assert.is_nil(raises("must be finite", ...):find "leave it out") end
    plainly(suite.try_open, { ttl = 1 / 0 })
    plainly(suite.try_open, { request_timeout = 1 / 0 })
    plainly(dsync.sleep, 1 / 0)
    plainly(lock.revoked, lock, 1 / 0)
  end)

  it("wait must not be negative or no number in a call", function()
    local lock = suite.open():lock "a"
    raises("wait", lock.acquire, lock, { wait = -0.5 })
    raises("wait", lock.acquire, lock, { wait = nan })
    raises("timeout", lock.revoked, lock, "x")
  end)

  it("ttl outside what the server can do is a config error that names the limits", function()
    local message = suite.fails("config", suite.try_open { ttl = 0.01 })
    assert.truthy(message:find("ttl", 1, true))
    assert.truthy(message:find("%d"))
    suite.fails("config", suite.try_open { ttl = 3e9 })
  end)

  it("ttl too small for the timeouts is a config error", function()
    suite.fails("config", suite.try_open { ttl = 2, request_timeout = 5 })
  end)
end)

describe("a name", function()
  after_each(suite.cleanup)

  local bad = {
    empty = "", dot = ".", dots = "..", ["leading slash"] = "/a", ["trailing slash"] = "a/",
    ["control character"] = "a\1b", newline = "a\nb", zero = "a\0b", delete = "a\127b",
    ["513 bytes"] = ("x"):rep(513), ["broken UTF-8"] = "a\255b", ["cut UTF-8"] = "a\195",
    ["overlong UTF-8"] = "a\192\175", surrogate = "\237\160\128",
  }
  for what, name in pairs(bad) do
    it("that is " .. what .. " is refused", function()
      local d = suite.open()
      raises("name", d.lock, d, name)
      raises("name", d.leader, d, name)
      raises("namespace", d.leader, d, "a", { namespace = name })
      raises("name", d.acquire, d, name)
      assert.equal(0, #suite.ok(d:locks()))
    end)
  end

  it("with a slash at its end gets a hint what to write", function()
    local d = suite.open()
    assert.truthy(raises("name", d.lock, d, "/a"):find('"a"', 1, true))
  end)

  it("of one byte, 512 bytes, spaces, slashes, percents, quotes or any script is a name", function()
    local d = suite.open()
    for _, name in ipairs {
      "x", ("y"):rep(512), "a b", "a/b", "a//b", "a/../b", "100%", "%2F", "ключ", "鍵", "🔒", "a?b#c", "a\\b", '"a"',
      "'", "...", "a.", "-", "{}", "a&b=c+d", "*",
    } do
      local lock = suite.ok(d:lock(name):acquire { wait = suite.patience })
      assert.equal(name, lock:name())
      assert.equal(name, lock:id())
      assert.equal(name, suite.ok(d:locks { prefix = name })[1].name)
      suite.ok(lock:release())
    end
  end)
end)
