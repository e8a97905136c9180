-- What locks cost: requests for each cycle, alone and in a crowd, and the connections of a client that waits for many.
local child = require "spec.support.suite_child"
local rig = require "spec.support.rig"
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_consul"
local dsync, ok = suite.dsync, suite.ok

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*/[^/]*$"

local WAITER = [[
  local dsync = require "dsync"
  local d = assert(dsync.open(arg[1], { prefix = arg[2] }))
  dsync.run(function()
    local held = 0
    for i = 1, 200 do
      dsync.spawn(function()
        local lock = assert(d:lock("many" .. i):acquire())
        held = held + 1
        assert(lock:release())
      end)
      -- One after the other: what all at once would need to ask is not what waiting needs.
      repeat dsync.sleep(0.005) until d:stats().entries == i
    end
    print "waiting"
    repeat dsync.sleep(0.05) until held == 200
    print "served"
  end)
  d:close()
]]

describe("on Consul", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  local proxy, url
  before_each(function()
    proxy = rig.start({ "python3", here .. "/support/count_proxy.py", bench.server.nodes[1].port }, {})
    url = "consul://127.0.0.1:" .. assert(proxy:line(suite.patience)):match "^port (%d+)$"
  end)
  after_each(function()
    suite.cleanup()
    proxy:stop()
  end)

  local function count()
    assert(proxy:write "\n")
    local requests, open_now, busy = assert(proxy:line(suite.patience)):match "^(%d+) (%d+) (%d+)$"
    return tonumber(requests), tonumber(open_now), tonumber(busy)
  end

  local function open()
    return assert(dsync.open(url, { prefix = suite.prefix(), ttl = 60, close_timeout = 5 }))
  end

  it("a cycle without a rival takes two requests", function()
    local d = open()
    local lock = d:lock "x"
    ok(ok(lock:acquire()):release())
    local before = count()
    for _ = 1, 200 do ok(ok(lock:acquire()):release()) end
    local each = (count() - before) / 200
    print(("no rival: %.2f requests a cycle"):format(each))
    d:close()
    assert.is_true(each <= 2.1, "requests for each cycle: " .. each)
  end)

  for _, rivals in ipairs { 2, 64 } do
    it(("a cycle among %d rivals takes no more than six requests"):format(rivals), function()
      dsync.run(function()
        local clients, cycles, total, over = {}, math.max(4, math.floor(256 / rivals)), 0, 0
        for i = 1, rivals do
          clients[i] = open()
          ok(ok(clients[i]:lock("warm" .. i):acquire()):release())
        end
        local before = count()
        for i = 1, rivals do
          dsync.spawn(function()
            local lock = clients[i]:lock "x"
            for _ = 1, cycles do
              ok(lock:acquire { wait = suite.patience })
              total = total + 1
              ok(lock:release())
            end
            over = over + 1
          end)
        end
        suite.eventually("everybody's turns", function() return over == rivals end)
        local each = (count() - before) / total
        print(("%d rivals: %.2f requests an acquisition"):format(rivals, each))
        for i = 1, rivals do clients[i]:close() end
        assert.is_true(each <= 6, "requests for each acquisition: " .. each)
      end)
    end)
  end

  it("a client that waits for 200 locks needs a handful of connections", function()
    local holder, locks = suite.open { ttl = 60 }, {}
    for i = 1, 200 do locks[i] = ok(holder:lock("many" .. i):acquire()) end
    local waiter = child.start(WAITER, nil, url, suite.prefix())
    assert.is_string((waiter:expect("^waiting", suite.patience)))
    -- A question that nobody waits for any more keeps its connection until it is answered.
    local most, open_now, busy = 0, 0, 0
    for _ = 1, 30 do
      suite.pause(0.5)
      _, open_now, busy = count()
      most = math.max(most, busy)
    end
    for i = 1, 200 do assert.is_true(locks[i]:release()) end
    assert.is_string((waiter:expect("^served", suite.patience)))
    print(("200 waiting locks: %d connections in use (at first %d), %d open"):format(busy, most, open_now))
    assert.equal(0, waiter:wait(suite.patience))
    waiter:stop()
    assert.is_true(busy <= 8, "connections in use while waiting: " .. busy)
    assert.is_true(open_now <= 40, "connections open while waiting: " .. open_now)
  end)
end)
