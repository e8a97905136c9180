-- client:watch and leader:observe: changes of elections, beginning with the present state.
local suite = require "spec.support.suite"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

describe("a watcher", function()
  local a, b, name
  before_each(function() a, b, name = suite.open(), suite.open(), suite.name() end)
  after_each(suite.cleanup)

  local function next_event(watcher) return ok(watcher:next(suite.patience)) end

  -- The next event of that type; others may come before it.
  local function until_type(watcher, kind, id)
    for _ = 1, 50 do
      local event = next_event(watcher)
      if event.type == kind and (not id or event.id == id) then return event end
    end
    error("no " .. kind)
  end

  it("begins with a vacant election", function()
    local watcher = ok(a:watch { name = name })
    local event = next_event(watcher)
    assert.equal("vacant", event.type)
    assert.equal(name, event.name)
    fails("timeout", watcher:next(0.05))
    fails("timeout", watcher:next(0))
    watcher:close()
  end)

  it("begins with the present leader", function()
    local elected = ok(b:leader(name, { id = "b", value = "hello" }):elect())
    local watcher = ok(a:watch { name = name })
    local event = until_type(watcher, "elected")
    assert.equal(name, event.name)
    assert.equal("b", event.id)
    assert.equal("hello", event.value)
    assert.equal(elected:token(), event.token)
    watcher:close()
  end)

  it("tells of elections, candidates, changes and vacancies, in order", function()
    dsync.run(function()
      local watcher = ok(a:watch { name = name })
      assert.equal("vacant", next_event(watcher).type)
      local first = ok(b:leader(name, { id = "one" }):elect())
      assert.equal("one", until_type(watcher, "elected").id)
      local task = suite.spawn(function() return b:leader(name, { id = "two" }):elect() end)
      assert.equal("two", until_type(watcher, "joined", "two").id)
      ok(first:proclaim "news")
      local changed = until_type(watcher, "changed", "one")
      assert.equal("news", changed.value)
      ok(first:resign())
      local second = ok(suite.join(task))
      local event = until_type(watcher, "elected", "two")
      assert.equal(second:token(), event.token)
      ok(second:resign())
      until_type(watcher, "vacant")
      watcher:close()
    end)
  end)

  it("tells when a candidate leaves", function()
    dsync.run(function()
      ok(b:leader(name, { id = "stays" }):elect())
      local cancel = dsync.canceller()
      local task = suite.spawn(function() return b:leader(name, { id = "goes" }):elect { cancel = cancel } end)
      suite.eventually("the candidate", function() return #ok(a:leader(name):members()) == 2 end)
      local watcher = ok(a:watch { name = name })
      until_type(watcher, "elected", "stays")
      cancel:cancel()
      fails("cancelled", suite.join(task))
      until_type(watcher, "left", "goes")
      watcher:close()
    end)
  end)

  it("converges to the last leader however fast they change", function()
    dsync.run(function()
      local watcher, last = ok(a:watch { name = name }), nil
      for i = 1, 20 do
        local elected = ok(b:leader(name, { id = "n" .. i }):elect { wait = suite.patience })
        if i < 20 then ok(elected:resign()) else last = elected end
      end
      local token = 0
      while token ~= last:token() do
        local event = next_event(watcher)
        if event.type == "elected" then
          assert.is_true(event.token >= token)
          token = event.token
        end
      end
      watcher:close()
    end)
  end)

  it("follows every election of a namespace", function()
    local namespace = suite.name "ns"
    ok(b:leader("x", { namespace = namespace, id = "bx" }):elect())
    local watcher = ok(a:watch { namespace = namespace })
    assert.equal("x", until_type(watcher, "elected", "bx").name)
    ok(b:leader("y/z", { namespace = namespace, id = "by" }):elect())
    ok(b:leader("y/z", { namespace = "other", id = "no" }):elect())
    local event = until_type(watcher, "elected", "by")
    assert.equal("y/z", event.name)
    fails("timeout", watcher:next(0.05))
    watcher:close()
  end)

  it("ends a loop over it when it is closed", function()
    dsync.run(function()
      local watcher, seen = ok(a:watch { name = name }), {}
      local task = suite.spawn(function()
        while true do
          local event, message, code = watcher:next()
          if not event then return event, message, code end
          seen[#seen + 1] = event.type
        end
      end)
      suite.eventually("an event", function() return seen[1] end)
      watcher:close()
      watcher:close()
      fails("closed", suite.join(task))
      assert.same({ "vacant" }, seen)
      fails("closed", watcher:next(0))
    end)
  end)

  it("can be the generator of a for loop", function()
    local watcher, types = ok(a:watch { name = name }), {}
    ok(b:leader(name, { id = "b" }):elect())
    for event in watcher do
      types[#types + 1] = event.type
      if event.type == "elected" then watcher:close() end
    end
    assert.equal("elected", types[#types])
    watcher = ok(a:leader(name):observe())
    for event in watcher do
      if event.type == "elected" then watcher:close() end
    end
  end)

  it("ends when its client is closed", function()
    dsync.run(function()
      local watcher = ok(b:watch { name = name })
      next_event(watcher)
      local task = suite.spawn(function() return watcher:next() end)
      suite.pause(0.02)
      b:close()
      fails("closed", suite.join(task))
    end)
  end)

  it("may be forgotten without being closed", function()
    do
      local kept = {}
      for i = 1, 20 do kept[i] = assert(a:watch { name = name }) end -- not ok(), which keeps what it returns
      assert.equal(20, a:stats().watches)
      kept[1]:close()
      assert.equal(19, a:stats().watches)
    end
    collectgarbage()
    collectgarbage()
    suite.eventually("the end of the watches", function() return a:stats().watches == 0 end)
    local watcher = ok(a:watch { name = name })
    assert.equal("vacant", next_event(watcher).type)
  end)

  it("sees losses that nobody announced", function()
    local namespace = suite.name "ns"
    local watcher = ok(a:watch { namespace = namespace, name = name })
    assert.equal("vacant", next_event(watcher).type)
    local c = suite.open()
    ok(c:leader(name, { namespace = namespace, id = "c" }):elect())
    until_type(watcher, "elected", "c")
    c:close()
    until_type(watcher, "vacant")
    watcher:close()
  end)
end)
