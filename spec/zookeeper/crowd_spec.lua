-- Sixteen processes contend for one lock: in the order in which they came, one at a time, and without a herd.
--
-- DSYNC_TEST_SECONDS: how long (5).
local child = require "spec.support.suite_child"
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_zookeeper"

local PROCESSES, SECONDS = 16, tonumber(os.getenv "DSYNC_TEST_SECONDS" or 5)
local PACKETS_PER_HANDOFF = 5
local TTL = 30
local SIGN_OF_LIFE = TTL / 4 * 0.9 -- seconds between two of a client, at least
-- A machine that pauses makes these: who waits, or holds, for longer looks after its own node, with two packets.
local LONG_WAIT, LONG_HOLD = 0.9, 0.045

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
    local since = now()
    assert(lock:acquire())
    local from = now()
    local held, token = lock:held(), lock:token_string()
    list[#list + 1] = ("turn %s %.6f %.6f %.6f %s"):format(token, since, from, now(), tostring(held and lock:held()))
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
    local workers, turns, slow = {}, {}, 0
    local all_from, all_to = 0, math.huge -- all of them take part
    local d = suite.open()
    suite.ok(suite.ok(d:lock "x":acquire()):release()) -- the nodes above are there
    d:close()
    for i = 1, PROCESSES do
      workers[i] = child.start(WORKER, nil, bench.server.url, suite.prefix(), tostring(SECONDS), tostring(TTL))
      assert(workers[i]:expect("^ready", suite.patience))
    end
    local begun, received, sent = suite.now(), counters()
    for _, worker in ipairs(workers) do worker:write "go\n" end
    for i, worker in ipairs(workers) do
      local first, last
      while true do
        local line = assert(worker:line(SECONDS + suite.patience))
        if line == "over" then break end
        local token, since, from, to, held = line:match "^turn (%d+) (%S+) (%S+) (%S+) (%a+)$"
        assert.equal("true", held, line)
        local turn = { worker = i, token = tonumber(token), from = tonumber(from), to = tonumber(to) }
        turns[#turns + 1] = turn
        first, last = first or turn.from, turn.from
        if turn.from - since >= LONG_WAIT then slow = slow + 1 end
        if turn.to - turn.from >= LONG_HOLD then slow = slow + 1 end
      end
      all_from, all_to = math.max(all_from, first), math.min(all_to, last)
    end
    local received_after, sent_after = counters()
    local seconds = suite.now() - begun
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
    local counts = {}
    for i = 1, PROCESSES do counts[i] = 0 end
    for _, turn in ipairs(turns) do
      local among_all = turn.from >= all_from and turn.from <= all_to
      counts[turn.worker] = counts[turn.worker] + (among_all and 1 or 0)
    end
    table.sort(counts)
    assert.is_true(counts[#counts] - counts[1] <= 0.05 * counts[#counts] + 5,
      ("turns from %d to %d"):format(counts[1], counts[#counts]))
    local beside = PROCESSES * math.ceil(seconds / SIGN_OF_LIFE) + 2 * slow
    local per_turn = (received_after - received - beside) / #turns
    print(("%d processes, %g s: %d turns, %d to %d each, %d slow; for each %.4f packets received and %.2f sent"):format(
      PROCESSES, SECONDS, #turns, counts[1], counts[#counts], slow, per_turn, (sent_after - sent) / #turns))
    assert.is_true(per_turn <= PACKETS_PER_HANDOFF, per_turn .. " packets for each handoff")
  end)
end)
