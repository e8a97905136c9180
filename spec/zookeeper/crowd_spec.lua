-- Sixteen processes contend for one lock: in the order in which they came, one at a time, and without a herd.
--
-- DSYNC_TEST_SECONDS: how long (5).
local child = require "spec.support.suite_child"
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_zookeeper"

local PROCESSES, SECONDS = 16, tonumber(os.getenv "DSYNC_TEST_SECONDS" or 5)
local PACKETS_PER_HANDOFF = 5
local TTL = 30

local WORKER = [[
  local dsync = require "dsync"
  local now = require "system".monotime
  local d = assert(dsync.open(arg[1], { prefix = arg[2], ttl = 30 }))
  local lock = d:lock "x"
  assert(d:ping(30))
  assert(d:lock("own" .. arg[3]):acquire()):release()
  print "ready"
  io.read "*l"
  local ends, list = now() + tonumber(arg[3]), {}
  while now() < ends do
    assert(lock:acquire())
    local from = now()
    local held, token = lock:held(), lock:token_string()
    list[#list + 1] = ("turn %s %.6f %.6f %s"):format(token, from, now(), tostring(held and lock:held()))
    assert(lock:release())
  end
  print(table.concat(list, "\n"))
  print "over"
  io.read "*l"
  d:close()
]]

describe("sixteen processes", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)

  local function counters()
    return bench.server:counter "zk_packets_received", bench.server:counter "zk_packets_sent"
  end

  it("take turns, with at most 5 packets to the server for each", function()
    local workers, turns, counts = {}, {}, {}
    local d = suite.open()
    suite.ok(suite.ok(d:lock "x":acquire()):release()) -- the nodes above are there
    d:close()
    for i = 1, PROCESSES do
      workers[i] = child.start(WORKER, nil, bench.server.url, suite.prefix(), tostring(SECONDS), tostring(TTL))
      assert(workers[i]:expect("^ready", suite.patience))
    end
    local received, sent = counters()
    for _, worker in ipairs(workers) do worker:write "go\n" end
    for i, worker in ipairs(workers) do
      counts[i] = 0
      while true do
        local line = assert(worker:line(SECONDS + suite.patience))
        if line == "over" then break end
        local token, from, to, held = line:match "^turn (%d+) (%S+) (%S+) (%a+)$"
        assert.equal("true", held, line)
        turns[#turns + 1] = { token = tonumber(token), from = tonumber(from), to = tonumber(to) }
        counts[i] = counts[i] + 1
      end
    end
    local received_after, sent_after = counters()
    for _, worker in ipairs(workers) do
      worker:write "end\n"
      assert.equal(0, worker:wait(suite.patience))
      worker:stop()
    end
    table.sort(turns, function(a, b) return a.from < b.from end)
    for i = 2, #turns do
      assert.is_true(turns[i].from >= turns[i - 1].to, "two held at once")
      assert.is_true(turns[i].token > turns[i - 1].token, "out of order")
    end
    table.sort(counts)
    assert.is_true(counts[#counts] - counts[1] <= 0.05 * counts[#counts] + 5,
      ("turns from %d to %d"):format(counts[1], counts[#counts]))
    local signs_of_life = PROCESSES * (math.ceil(SECONDS / (TTL / 4)) + 1)
    local per_turn = (received_after - received - signs_of_life) / #turns
    print(("%d processes, %g s: %d turns, %d to %d each; %.2f packets received and %.2f sent for each"):format(
      PROCESSES, SECONDS, #turns, counts[1], counts[#counts], per_turn, (sent_after - sent) / #turns))
    -- Rounded: a machine that pauses makes waiters look after their own nodes.
    assert.is_true(math.floor(per_turn * 10 + 0.5) / 10 <= PACKETS_PER_HANDOFF, per_turn .. " packets for each handoff")
  end)
end)
