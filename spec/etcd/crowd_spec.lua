-- A thousand coroutines of one program queue for one lock: in order, and as one entry on the server.
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_etcd"
local dsync, ok = suite.dsync, suite.ok

describe("a crowd", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)

  it("of 1000 coroutines is served in order and is one entry on the server", function()
    dsync.run(function()
      local a, b = suite.open(), suite.open()
      local held = ok(a:lock "x":acquire())
      local order, asked, inside, last = {}, 0, 0, 0
      for i = 1, 1000 do
        dsync.spawn(function()
          asked = asked + 1
          local lock = ok(b:lock "x":acquire { wait = 10 * suite.patience })
          inside = inside + 1
          assert.equal(1, inside)
          order[#order + 1] = i
          assert.is_true(lock:token() > last)
          last = lock:token()
          if i == 500 then assert.equal(1, #bench.keys(lock:key() .. "/")) end
          inside = inside - 1
          ok(lock:release())
        end)
      end
      suite.eventually("the queue", function() return asked == 1000 end)
      suite.until_waiting(a, "x", 1)
      assert.equal(2, #bench.keys(held:key() .. "/"))
      ok(held:release())
      local limit = suite.now() + 10 * suite.patience
      while #order < 1000 do
        assert.is_true(suite.now() < limit, #order .. " of 1000 were served")
        suite.pause(0.05)
      end
      for i = 1, 1000 do assert.equal(i, order[i]) end
      suite.eventually("an empty queue", function() return #bench.keys(held:key() .. "/") == 0 end)
    end)
  end)

  it("of 300 candidates, each with an entry of its own, is elected in order", function()
    dsync.run(function()
      local d, order = suite.open(), {}
      local first = ok(d:leader "x":elect())
      for i = 1, 300 do
        dsync.spawn(function()
          local elected = ok(d:leader("x", { id = "n" .. i }):elect { wait = 10 * suite.patience })
          order[#order + 1] = elected:token()
          ok(elected:resign())
        end)
      end
      suite.eventually("the candidates", function() return #ok(d:leader "x":members()) == 301 end)
      ok(first:resign())
      suite.eventually("everybody's turn", function() return #order == 300 end)
      for i = 2, 300 do assert.is_true(order[i] > order[i - 1]) end
      assert.same({}, ok(d:members()))
    end)
  end)
end)
