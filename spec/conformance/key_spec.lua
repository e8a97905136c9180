-- Where things are kept: prefix, region, scope, namespace, encoding, and literal keys.
local suite = require "spec.support.suite"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

describe("the key", function()
  after_each(suite.cleanup)

  it("of a lock, with / and % in its name encoded and nothing else", function()
    local d = suite.open()
    local base = suite.prefix() .. "/lock/"
    assert.equal(base .. "plain", d:lock("plain"):key())
    assert.equal(base .. "a%2Fb", d:lock("a/b"):key())
    assert.equal(base .. "100%25", d:lock("100%"):key())
    assert.equal(base .. "%252F", d:lock("%2F"):key())
    assert.equal(base .. "a b?c#d&e=f+g", d:lock("a b?c#d&e=f+g"):key())
    assert.equal(base .. "ключ", d:lock("ключ"):key())
  end)

  it("of an election has its namespace", function()
    local d = suite.open()
    local base = suite.prefix() .. "/leader/"
    assert.equal(base .. "default/x", d:leader("x"):key())
    assert.equal(base .. "jobs/x", d:leader("x", { namespace = "jobs" }):key())
    assert.equal(base .. "a%2Fb/x%2Fy", d:leader("x/y", { namespace = "a/b" }):key())
    assert.equal(base .. "other/x", suite.open({ namespace = "other" }):leader("x"):key())
  end)

  it("is below the region, or global", function()
    local p = suite.prefix()
    local d = suite.open { region = "eu/west-1" }
    assert.equal(p .. "/region/eu/west-1/lock/x", d:lock("x"):key())
    assert.equal(p .. "/region/eu/west-1/lock/x", d:lock("x", { scope = "region" }):key())
    assert.equal(p .. "/global/lock/x", d:lock("x", { scope = "global" }):key())
    assert.equal(p .. "/region/eu/west-1/leader/default/x", d:leader("x"):key())
    assert.equal(p .. "/global/leader/default/x", d:leader("x", { scope = "global" }):key())
  end)

  it("scope makes no sense without a region, or with another word", function()
    local d = suite.open()
    suite.raises("scope", d.lock, d, "x", { scope = "galaxy" })
    local regional = suite.open { region = "eu" }
    suite.raises("scope", regional.lock, regional, "x", { scope = "galaxy" })
  end)

  it("key = replaces it literally", function()
    local d = suite.open()
    local key = suite.prefix() .. "/native/some%2Fkey"
    assert.equal(key, d:lock("x", { key = key }):key())
    assert.equal(key, d:leader("x", { key = key }):key())
    assert.equal("x", d:lock("x", { key = key }):name())
  end)

  it("is checked: no empty segments, no dots, no slash at its end", function()
    local d = suite.open()
    for _, bad in ipairs { "", "a/", "a//b", "a/../b", "./a", "a\nb", ("k"):rep(5000) } do
      suite.raises("key", d.lock, d, "x", { key = bad })
      assert.truthy(fails("config", suite.try_open { prefix = bad }):find "prefix")
    end
    suite.raises("key", d.lock, d, "x", { key = "a\0b" })
    for _, bad in ipairs { "", "/a", "a/", "a//b", ".." } do
      assert.truthy(fails("config", suite.try_open { region = bad }):find "region")
    end
  end)

  it("may begin with a slash, as native clients often write theirs", function()
    local d = suite.open { prefix = "/" .. suite.prefix() }
    assert.equal("/" .. suite.prefix() .. "/lock/x", d:lock("x"):key())
    ok(d:lock("x"):acquire { wait = suite.patience })
    assert.equal("x", ok(d:locks())[1].name)
    local key = "/" .. suite.prefix() .. "/native"
    ok(d:lock("y", { key = key }):acquire { wait = suite.patience })
    fails("contended", suite.open():lock("z", { key = key }):try())
  end)
end)

describe("two clients", function()
  after_each(suite.cleanup)

  it("of different regions do not meet, except in the global scope", function()
    local eu, us = suite.open { region = "eu" }, suite.open { region = "us" }
    ok(eu:lock("x"):acquire { wait = 0 })
    ok(us:lock("x"):acquire { wait = 0 })
    ok(eu:lock("x", { scope = "global" }):acquire { wait = 0 })
    fails("contended", us:lock("x", { scope = "global" }):try())
    fails("contended", suite.open({ region = "eu" }):lock("x"):try())
  end)

  it("of one key exclude each other whatever the names", function()
    local a, b = suite.open(), suite.open { prefix = suite.prefix() .. "/elsewhere" }
    local key = suite.prefix() .. "/shared/key"
    ok(a:lock("mine", { key = key }):acquire())
    fails("contended", b:lock("yours", { key = key }):try())
    assert.equal(a:id(), ok(b:lock("any", { key = key }):holder()).id)
  end)

  it("names that look alike in a path are different locks", function()
    local d = suite.open()
    for _, name in ipairs { "a", "a/b", "a%2Fb", "a%2fb", "a/b/c", "A", "a " } do
      ok(d:lock(name):acquire { wait = 0 })
    end
    assert.equal(7, #ok(d:locks()))
  end)

  it("elections of one name in two namespaces are two", function()
    dsync.run(function()
      local a, b = suite.open(), suite.open()
      ok(a:leader("x", { namespace = "n1" }):elect { wait = suite.patience })
      ok(b:leader("x", { namespace = "n2" }):elect { wait = suite.patience })
      assert.equal(a:id(), ok(b:leader("x", { namespace = "n1" }):leader()).id)
      assert.equal(1, #ok(a:members { namespace = "n1" }))
      assert.equal(1, #ok(a:members { namespace = "n2" }))
      fails("vacant", a:leader("x"):leader())
    end)
  end)
end)
