-- A dsync election and `etcdctl elect` on one key are one election, each sees the other's leader.
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_etcd"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

describe("etcdctl elect", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)
  local key, d
  before_each(function()
    d = suite.open()
    key = suite.prefix() .. "/election"
  end)

  local function campaign(value)
    return bench.server:etcdctl_start { "elect", key, value }
  end

  local function said(process, text)
    tools.expect(process, "^" .. text .. "$")
  end

  it("-l sees a dsync leader and what it proclaims", function()
    local listener = bench.server:etcdctl_start { "elect", "-l", key }
    local elected = ok(d:leader("any", { key = key, raw = true, value = "dsync is here" }):elect())
    said(listener, "dsync is here")
    ok(elected:proclaim "and has news")
    said(listener, "and has news")
    listener:stop()
  end)

  it("'s leader is seen by dsync, with its value", function()
    dsync.run(function()
      local process = campaign "native leader"
      said(process, "native leader")
      local seen = ok(d:leader("any", { key = key }):leader())
      assert.equal("native leader", seen.value)
      assert.is_nil(seen.id)
      assert.is_number(seen.token)

      local watcher = ok(d:leader("any", { key = key }):observe())
      local event
      repeat
        event = ok(watcher:next(suite.patience))
      until event.type == "elected"
      assert.equal("native leader", event.value)

      local candidate = d:leader("any", { key = key, raw = true, value = "dsync" })
      fails("timeout", candidate:elect { wait = 0.1 })
      local task = suite.spawn(function() return candidate:elect { wait = suite.patience } end)
      suite.eventually("the candidate", function() return #ok(candidate:members()) == 2 end)
      process:signal "INT"
      local elected = ok(suite.join(task))
      assert.is_true(elected:held())
      assert.is_true(elected:token() > seen.token)
      repeat
        event = ok(watcher:next(suite.patience))
      until event.type == "elected"
      assert.equal("dsync", event.value)
      watcher:close()
      process:stop()
    end)
  end)

  it("waits behind a dsync leader", function()
    local elected = ok(d:leader("any", { key = key }):elect())
    local process = campaign "next please"
    suite.eventually("the candidate", function() return #bench.keys(key .. "/") == 2 end)
    local line, why = process:line(0.2)
    assert.is_nil(line)
    assert.equal("timeout", why)
    local members = ok(d:leader("any", { key = key }):members())
    assert.equal("next please", members[2].value)
    ok(elected:resign())
    said(process, "next please")
    process:stop()
    suite.eventually("a vacancy", function() return select(3, d:leader("any", { key = key }):leader()) == "vacant" end)
  end)
end)
