-- Three members, of which one is killed while everything goes on.
local suite = require "spec.support.suite"
local in_time = require "spec.support.in_time"
local tools = require "spec.support.suite_etcd"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

describe("with three members", function()
  local bench = tools.bench { nodes = 3 }
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)

  -- Many coroutines of three clients take one lock in turn; every `kill_at` turns something happens.
  local function contend(rounds, meanwhile)
    dsync.run(function()
      local clients = { suite.open { ttl = 10 }, suite.open { ttl = 10 }, suite.open { ttl = 10 } }
      local keeper = suite.open { ttl = 10 }
      local kept = ok(keeper:lock "kept":acquire { wait = suite.patience })
      local kept_token = kept:token()
      local turns, inside, last, over = 0, 0, 0, 0
      for i = 1, 12 do
        dsync.spawn(function()
          local lock = clients[i % 3 + 1]:lock "x"
          for _ = 1, rounds do
            -- while a new leader is elected a call may fail; what it must not do is to hold twice
            local good, _, code = lock:acquire { wait = suite.patience }
            if good then
              inside = inside + 1
              assert.equal(1, inside)
              assert.is_true(lock:token() > last)
              last = lock:token()
              turns = turns + 1
              suite.pause(0.002)
              inside = inside - 1
              local released, message, why = lock:release()
              assert.truthy(released or why == "unknown" or why == "lost", tostring(message))
            else
              assert.equal("unavailable", code)
              suite.pause(0.1)
            end
          end
          over = over + 1
        end)
      end
      suite.eventually("the first turns", function() return turns >= 20 end)
      meanwhile()
      suite.eventually("the last turn", function() return over == 12 end)
      assert.is_true(turns >= 12 * rounds - 12, turns .. " turns")
      assert.is_true(kept:held())
      assert.equal(kept_token, kept:token())
      assert.is_true(kept:release())
    end)
  end

  it("the death of a follower is not noticed", function()
    local victim = bench.server:leader() % 3 + 1
    contend(20, function() bench.server:kill("KILL", victim) end)
    bench.server:restart(victim)
  end)

  it("the death of the leader costs nobody a lock", function()
    local victim = assert(bench.server:leader())
    contend(20, function() bench.server:kill("KILL", victim) end)
    bench.server:restart(victim)
  end)

  it("a watcher goes on at another member", function()
    local d, other = suite.open(), suite.open()
    local watcher = ok(d:watch { name = "w" })
    assert.equal("vacant", ok(watcher:next(suite.patience)).type)
    for i = 1, 3 do
      bench.server:kill("KILL", i)
      local elected
      suite.eventually("an election", function()
        elected = other:leader("w", { id = "n" .. i }):elect { wait = suite.patience }
        return elected
      end)
      local event
      repeat
        event = ok(watcher:next(suite.patience))
      until event.type == "elected" and event.id == "n" .. i
      assert.equal(elected:token(), event.token)
      elected:resign()
      repeat
        event = ok(watcher:next(suite.patience))
      until event.type == "vacant"
      bench.server:restart(i)
    end
    watcher:close()
  end)

  it("without a majority calls end by their own deadlines, and go on after it is back", in_time(function(within)
    local d = suite.open()
    ok(ok(d:lock "x":acquire { wait = suite.patience }):release())
    bench.server:kill("KILL", 1)
    bench.server:kill("KILL", 2)
    local began = suite.now()
    local value, _, code = d:lock "x":acquire { wait = 1 }
    assert.is_nil(value)
    assert.truthy(code == "timeout" or code == "unavailable", code)
    within(1.5, suite.now() - began, "acquire with a wait of 1 s")
    fails("unavailable", d:ping(1))
    bench.server:restart(1, { wait = false })
    bench.server:restart(2)
    ok(d:lock "x":acquire { wait = suite.patience })
  end))
end)
