-- client:members and leader:members: who stands in which election.
local suite = require "spec.support.suite"
local dsync, ok = suite.dsync, suite.ok

describe("members", function()
  local namespace
  before_each(function() namespace = suite.name "ns" end)
  after_each(suite.cleanup)

  it("is empty where nobody stands", function()
    local d = suite.open()
    assert.same({}, ok(d:members { namespace = namespace }))
    assert.same({}, ok(d:members()))
    assert.same({}, ok(d:leader("x"):members()))
  end)

  it("lists leaders and candidates of every election of the namespace", function()
    dsync.run(function()
      local a, b = suite.open { namespace = namespace }, suite.open { namespace = namespace }
      local first = ok(a:leader("x", { id = "a", value = "va" }):elect())
      local task = suite.spawn(function()
        return b:leader("x", { id = "b", value = { port = 80 } }):elect()
      end)
      ok(b:leader("y/z", { id = "c" }):elect { wait = suite.patience })
      ok(b:leader("x", { id = "d", namespace = "another" }):elect { wait = suite.patience })
      suite.eventually("the candidate", function() return #ok(a:leader("x"):members()) == 2 end)

      local list = ok(a:members())
      table.sort(list, function(p, q) return p.id < q.id end)
      assert.equal(3, #list)
      local seen = {}
      for i, member in ipairs(list) do
        seen[i] = { member.id, member.name, member.namespace, member.role }
        assert.is_number(member.token)
      end
      assert.same({
        { "a", "x", namespace, "leader" },
        { "b", "x", namespace, "candidate" },
        { "c", "y/z", namespace, "leader" },
      }, seen)
      assert.equal("va", list[1].value)
      assert.equal(first:token(), list[1].token)
      assert.same({ port = 80 }, list[2].value)
      assert.equal(3, #ok(suite.open():members { namespace = namespace }))

      local order = ok(b:leader("x"):members())
      assert.equal("a", order[1].id)
      assert.equal("b", order[2].id)
      assert.is_true(order[2].token > order[1].token)

      ok(first:resign())
      ok(suite.join(task))
      order = ok(b:leader("x"):members())
      assert.equal(1, #order)
      assert.equal("b", order[1].id)
      assert.equal("leader", order[1].role)
    end)
  end)

  it("keeps one entry per candidate, also for several of one client", function()
    dsync.run(function()
      local d, tasks = suite.open { namespace = namespace }, {}
      for i = 1, 5 do
        tasks[i] = suite.spawn(function() return d:leader("x", { id = "n" .. i }):elect() end)
        suite.eventually("candidate " .. i, function() return #ok(d:members()) == i end)
      end
      for i, member in ipairs(ok(d:leader("x"):members())) do
        assert.equal("n" .. i, member.id)
        assert.equal(i == 1 and "leader" or "candidate", member.role)
      end
      for i = 1, 5 do
        local elected = ok(suite.join(tasks[i]))
        assert.is_true(elected:held())
        ok(elected:resign())
      end
      assert.same({}, ok(d:members()))
    end)
  end)
end)
