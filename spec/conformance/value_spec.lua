-- Values beside a holder: strings, tables, raw bytes, and how large they may be.
local suite = require "spec.support.suite"
local ok = suite.ok

local KIB64 = 64 * 1024

describe("a holder's value", function()
  local d, name
  before_each(function() d, name = suite.open(), suite.name() end)
  after_each(suite.cleanup)

  local function seen() return ok(suite.open():lock(name):holder()) end

  it("may be absent", function()
    local lock = ok(d:lock(name):acquire())
    assert.is_nil((lock:value()))
    assert.is_nil(seen().value)
    assert.equal(d:id(), seen().id)
  end)

  it("may be a string, of the client, the lock or the call", function()
    local client = suite.open { value = "client's" }
    local function show(lock, options)
      ok(lock:acquire(options))
      local value = lock:value()
      assert.equal(value, seen().value)
      ok(lock:release())
      return value
    end
    assert.equal("client's", show(client:lock(name)))
    assert.equal("lock's", show(client:lock(name, { value = "lock's" })))
    assert.equal("call's", show(client:lock(name, { value = "lock's" }), { value = "call's" }))
    assert.equal("lock's", show(client:lock(name, { value = "lock's" })))
    assert.equal("", show(client:lock(name, { value = "" })))
  end)

  it("may be any text", function()
    for _, text in ipairs {
      "ü, 鍵 and 🔒", "line\nbreak\ttab", 'quotes " and \\', '{"id":"fake"}', "null", "1", "\127\1",
    } do
      local lock = ok(d:lock(name, { value = text }):acquire { wait = suite.patience })
      assert.equal(text, seen().value)
      assert.equal(d:id(), seen().id)
      ok(lock:release())
    end
  end)

  it("may be a table", function()
    local value = { host = "h1", pid = 17, nested = { yes = true, list = { 1, 2.5, "three" } }, ["a b"] = "c" }
    local lock = ok(d:lock(name, { value = value }):acquire())
    assert.same(value, lock:value())
    assert.same(value, seen().value)
  end)

  it("that cannot be written is refused", function()
    local round = {}
    round.round = round
    for _, bad in ipairs { round, { print }, { [1.5] = 1 }, { 0 / 0 }, { math.huge } } do
      suite.raises("value", d.lock, d, name, { value = bad })
    end
    assert.equal(0, #ok(d:locks()))
  end)

  it("is kept through a change of the caller's table", function()
    local value = { step = 1 }
    local lock = d:lock(name, { value = value })
    value.step = 2
    ok(lock:acquire())
    assert.same({ step = 1 }, seen().value)
  end)

  it("raw is stored as it is, any bytes", function()
    local bytes = {}
    for i = 0, 255 do bytes[i + 1] = string.char(i) end
    bytes = table.concat(bytes)
    local lock = ok(d:lock(name, { raw = true, value = bytes }):acquire())
    assert.equal(bytes, seen().value)
    assert.equal(bytes, lock:value())
  end)

  it("raw must be a string", function()
    suite.raises("value", d.lock, d, name, { raw = true, value = { 1 } })
  end)

  it("of 64 KiB is fine, one byte more is not", function()
    local big = ("x"):rep(KIB64)
    local lock = ok(d:lock(name, { raw = true, value = big }):acquire())
    assert.equal(big, seen().value)
    ok(lock:release())
    suite.raises("value", d.lock, d, name, { raw = true, value = big .. "x" })
    suite.raises("value", d.lock, d, name, { value = big .. "x" })
    suite.raises("value", d.acquire, d, name, { value = big .. "x" })
    suite.fails("config", suite.try_open { value = big .. "x" })
    assert.equal(0, #ok(d:locks()))
  end)

  it("may be larger where max_value says so", function()
    local larger = suite.open { max_value = 2 * KIB64 }
    local big = ("y"):rep(2 * KIB64)
    ok(larger:lock(name, { raw = true, value = big }):acquire())
    assert.equal(big, seen().value)
    suite.raises("value", larger.lock, larger, name, { value = big .. "y" })
  end)
end)
