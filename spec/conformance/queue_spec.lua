-- Who comes first: the order of waiters, across clients and inside one, and what can be seen of the queue.
local suite = require "spec.support.suite"
local dsync, ok = suite.dsync, suite.ok

local function ids(entries)
  local list = {}
  for i, entry in ipairs(entries) do list[i] = entry.id end
  return list
end

describe("the queue of a lock", function()
  local name
  before_each(function() name = suite.name() end)
  after_each(suite.cleanup)

  it("serves clients in the order in which they came", function()
    dsync.run(function()
      local first = suite.open { id = "c0" }
      local held, order, tasks = ok(first:lock(name):acquire()), {}, {}
      for i = 1, 6 do
        local client = suite.open { id = "c" .. i }
        tasks[i] = suite.spawn(function()
          local lock = ok(client:lock(name):acquire())
          order[#order + 1] = i
          ok(lock:release())
        end)
        suite.until_waiting(first, name, i)
      end
      assert.same({ "c1", "c2", "c3", "c4", "c5", "c6" }, ids(ok(first:lock(name):waiters())))
      ok(held:release())
      for i = 1, 6 do suite.join(tasks[i]) end
      assert.same({ 1, 2, 3, 4, 5, 6 }, order)
    end)
  end)

  it("serves the waiters of one client in order, through one entry", function()
    dsync.run(function()
      local a, b = suite.open(), suite.open()
      local held, order, tasks = ok(a:lock(name):acquire()), {}, {}
      local asked = 0
      for i = 1, 20 do
        tasks[i] = suite.spawn(function()
          asked = asked + 1
          local lock = ok(b:lock(name):acquire())
          order[#order + 1] = i
          suite.pause(0)
          ok(lock:release())
        end)
      end
      suite.until_waiting(a, name, 1)
      assert.equal(20, asked)
      assert.equal(1, b:stats().entries)
      ok(held:release())
      for i = 1, 20 do
        suite.join(tasks[i])
        assert.equal(i, order[i])
      end
      assert.equal(0, b:stats().entries)
    end)
  end)

  it("lets a client with many waiters and a client with one take turns", function()
    dsync.run(function()
      local a, b, c = suite.open(), suite.open(), suite.open()
      local held, order, tasks = ok(a:lock(name):acquire()), {}, {}
      local function wait_in(client, label)
        tasks[#tasks + 1] = suite.spawn(function()
          local lock = ok(client:lock(name):acquire())
          order[#order + 1] = label
          ok(lock:release())
        end)
      end
      wait_in(b, "b1")
      suite.until_waiting(a, name, 1)
      wait_in(b, "b2")
      wait_in(b, "b3")
      wait_in(c, "c1")
      suite.until_waiting(a, name, 2)
      ok(held:release())
      for _, task in ipairs(tasks) do suite.join(task) end
      -- b's next waiter goes to the tail, behind c
      assert.same({ "b1", "c1", "b2", "b3" }, order)
    end)
  end)

  it("a waiter that gives up is skipped, locally and across clients", function()
    dsync.run(function()
      local a, b, c = suite.open(), suite.open(), suite.open()
      local held, order = ok(a:lock(name):acquire()), {}
      local cancel = dsync.canceller()
      local function wait_in(client, label, options)
        return suite.spawn(function()
          local lock, _, code = client:lock(name):acquire(options)
          order[#order + 1] = lock and label or code
          if lock then ok(lock:release()) end
        end)
      end
      local quits = wait_in(b, "b1", { cancel = cancel })
      suite.until_waiting(a, name, 1)
      local second = wait_in(b, "b2")
      local third = wait_in(c, "c1", { wait = suite.patience })
      suite.until_waiting(a, name, 2)
      cancel:cancel()
      suite.join(quits)
      -- the entry b1 came with passes to b2, which keeps its place
      suite.until_waiting(a, name, 2)
      ok(held:release())
      suite.join(second)
      suite.join(third)
      assert.same({ "cancelled", "b2", "c1" }, order)
    end)
  end)

  it("shows holder and waiters", function()
    dsync.run(function()
      local a, b = suite.open { id = "one" }, suite.open { id = "two" }
      local probe = a:lock(name)
      local none, _, code = probe:holder()
      assert.is_nil(none)
      assert.equal("vacant", code)
      assert.same({}, ok(probe:waiters()))
      local held = ok(a:lock(name, { value = "busy" }):acquire())
      local task = suite.spawn(function() return b:lock(name, { value = { why = "me too" } }):acquire() end)
      suite.until_waiting(a, name, 1)
      local holder, waiters = ok(probe:holder()), ok(probe:waiters())
      assert.equal("one", holder.id)
      assert.equal("busy", holder.value)
      assert.equal(held:token(), holder.token)
      assert.equal("two", waiters[1].id)
      assert.same({ why = "me too" }, waiters[1].value)
      assert.is_true(waiters[1].token > holder.token)
      ok(held:release())
      suite.join(task)
      assert.equal("two", ok(probe:holder()).id)
    end)
  end)
end)

describe("client:locks", function()
  after_each(suite.cleanup)

  it("lists who holds and who waits", function()
    dsync.run(function()
      local a, b = suite.open { id = "one" }, suite.open { id = "two" }
      assert.same({}, ok(a:locks()))
      local began = os.time()
      ok(a:lock("jobs/1", { value = "x" }):acquire())
      ok(b:lock("jobs/2"):acquire())
      ok(a:lock("other"):acquire())
      local task = suite.spawn(function() return b:lock("jobs/1"):acquire() end)
      suite.until_waiting(a, "jobs/1", 1)
      local list = ok(b:locks { prefix = "jobs/" })
      table.sort(list, function(x, y) return x.name < y.name end)
      assert.equal(2, #list)
      assert.equal("jobs/1", list[1].name)
      assert.equal("one", list[1].holder.id)
      assert.equal("x", list[1].holder.value)
      assert.is_number(list[1].holder.token)
      assert.is_true(list[1].holder.since >= began - 2)
      assert.is_true(list[1].holder.since <= os.time() + 2)
      assert.same({ "two" }, ids(list[1].waiters))
      assert.equal("two", list[2].holder.id)
      assert.same({}, list[2].waiters)
      assert.equal(3, #ok(a:locks()))
      assert.equal(1, #ok(a:locks { prefix = "oth" }))
      assert.equal(0, #ok(a:locks { prefix = "none" }))
      b:close()
      suite.fails("closed", suite.join(task))
      assert.equal(2, #ok(a:locks()))
    end)
  end)

  it("lists more than one page", function()
    local d = suite.open()
    for i = 1, 300 do ok(d:lock(("many/%03d"):format(i)):acquire()) end
    local list = ok(d:locks { prefix = "many/" })
    assert.equal(300, #list)
    local seen = {}
    for _, lock in ipairs(list) do
      assert.is_nil(seen[lock.name])
      seen[lock.name] = true
      assert.equal(d:id(), lock.holder.id)
    end
  end)
end)
