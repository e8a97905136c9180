-- Sixteen processes contend for one lock: everyone gets its turn. DSYNC_TEST_FAIR_S says for how many seconds (5).
local child = require "spec.support.suite_child"
local suite = require "spec.support.suite"
local system = require "system"
local tools = require "spec.support.suite_consul"

local SECONDS = tonumber(os.getenv "DSYNC_TEST_FAIR_S" or "") or 5
local PROCESSES = 16

local CONTENDER = [[
  local dsync, system = require "dsync", require "system"
  local d = assert(dsync.open(arg[1], { prefix = arg[2], ttl = 30 }))
  local lock = d:lock "x"
  assert(d:lock("warm" .. arg[3]):acquire())
  print "ready"
  local from, to = io.read "*l":match "(%S+) (%S+)"
  local count, last, now = 0, 0, 0
  while now < tonumber(to) + 1 do
    assert(lock:acquire { wait = 120 })
    now = system.monotime()
    assert(lock:token() > last)
    last = lock:token()
    count = count + ((now >= tonumber(from) and now < tonumber(to)) and 1 or 0)
    assert(lock:release())
  end
  print("count " .. count)
  d:close()
]]

describe("sixteen processes", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)

  it("that contend for one lock take turns", function()
    local list, counts = {}, {}
    for i = 1, PROCESSES do list[i] = child.start(CONTENDER, nil, suite.url, suite.prefix(), i) end
    for _, process in ipairs(list) do assert.is_string((process:expect("^ready", suite.patience))) end
    -- They begin and end one after the other; what counts is the time in which all of them contend.
    local from = system.monotime() + 1
    for _, process in ipairs(list) do assert(process:write(("%f %f\n"):format(from, from + SECONDS))) end
    for i, process in ipairs(list) do
      local line = assert(process:expect("^count (%d+)", SECONDS + 2 + suite.patience))
      counts[i] = tonumber(line:match "%d+")
    end
    for _, process in ipairs(list) do process:stop() end
    table.sort(counts)
    local total = 0
    for _, count in ipairs(counts) do total = total + count end
    local ratio = counts[PROCESSES] / counts[1]
    print(("%d processes, %d s: %d acquisitions, from %d to %d each, ratio %.2f"):format(PROCESSES, SECONDS, total,
      counts[1], counts[PROCESSES], ratio))
    assert.is_true(counts[PROCESSES] <= counts[1] * 1.2 + 2, table.concat(counts, " "))
  end)
end)
