-- Guarded writes: the store applies them only while this very acquisition owns the lock.
local suite = require "spec.support.suite"
local ok, fails = suite.ok, suite.fails

describe("guarded data", function()
  local a, b, name
  before_each(function() a, b, name = suite.open(), suite.open(), suite.name() end)
  after_each(suite.cleanup)

  it("is not there before it is written", function()
    assert.is_nil((a:get "nothing"))
  end)

  it("is written, read, overwritten and deleted", function()
    local lock = ok(a:lock(name):acquire())
    assert.is_true(ok(lock:put("k", "one")))
    local value, token = b:get "k"
    assert.equal("one", value)
    assert.is_number(token)
    ok(lock:put("k", "two"))
    local second, later = b:get "k"
    assert.equal("two", second)
    assert.is_true(later > token)
    assert.is_true(ok(lock:delete "k"))
    assert.is_nil((b:get "k"))
    ok(lock:delete "k")
  end)

  it("may be empty, binary, 64 KiB, and have any name", function()
    local lock = ok(a:lock(name):acquire())
    for _, value in ipairs { "", "a\0b\255\1", ("z"):rep(65536) } do
      ok(lock:put("some/key %", value))
      assert.equal(value, (b:get "some/key %"))
    end
    suite.raises("value", lock.put, lock, "k", ("z"):rep(65537))
    suite.raises("key", lock.put, lock, "", "v")
    suite.raises("key", lock.put, lock, "a\nb", "v")
    suite.raises("key", a.get, a, "..")
  end)

  it("survives the lock", function()
    local lock = ok(a:lock(name):acquire())
    ok(lock:put("k", "stays"))
    ok(lock:release())
    a:close()
    assert.equal("stays", (b:get "k"))
  end)

  it("is refused without the lock, before and after", function()
    local lock = a:lock(name)
    fails("not_held", lock:put("k", "v"))
    fails("not_held", lock:delete "k")
    ok(lock:acquire())
    ok(lock:release())
    fails("not_held", lock:put("k", "v"))
    assert.is_nil((b:get "k"))
  end)

  it("is refused by the store once the lock was lost, and by the next holder's right to write", function()
    local old = ok(a:lock(name):acquire())
    ok(old:put("k", "old"))
    ok(b:break_lock(name, { token = old:token() }))
    local fresh = ok(b:lock(name):acquire { wait = suite.patience })
    ok(fresh:put("k", "new"))
    -- whether or not the news of the loss has arrived, the write must not
    fails("lost", old:put("k", "stale"))
    fails("lost", old:delete "k")
    assert.equal("new", (b:get "k"))
    assert.is_false(old:held())
  end)

  it("belongs to one acquisition, not to one client", function()
    local first, second = ok(a:lock(name):acquire()), a:lock(name)
    fails("not_held", second:put("k", "v"))
    ok(first:release())
    ok(second:acquire { wait = suite.patience })
    fails("not_held", first:put("k", "v"))
    ok(second:put("k", "v"))
  end)

  it("can be written by a leader", function()
    local elected = ok(a:leader(name):elect { wait = suite.patience })
    ok(elected:put("by-leader", "v"))
    assert.equal("v", (b:get "by-leader"))
    ok(elected:resign())
    suite.fails("not_held", elected:put("by-leader", "w"))
    assert.equal("v", (b:get "by-leader"))
  end)
end)
