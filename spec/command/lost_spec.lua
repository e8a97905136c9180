-- dsync run: the lock is lost while the command runs.
local command = require "spec.support.command"
local rig = require "spec.support.rig"
local suite = require "spec.support.suite"
local ok = suite.ok

before_each(command.fresh)
after_each(suite.cleanup)

-- Starts `dsync run` with these options and this shell line, waits for its first line, and breaks the lock.
local function broken(options, line, log)
  local d = command.client()
  local list = { "run" }
  for _, word in ipairs(options) do list[#list + 1] = word end
  for _, word in ipairs { "name", "bash", "-c", line } do list[#list + 1] = word end
  local process = command.start(list, { log = log })
  local _, pid = assert(process:expect("^ready (%d+)", command.patience))
  local holder = ok(d:lock("name"):holder())
  ok(d:break_lock("name", { token = holder.token_string }))
  return process, pid, d
end

describe("when the lock is lost", function()
  it("the child gets SIGTERM, and dsync ends with 76", function()
    local log = rig.tempdir() .. "/log"
    local process = broken({}, "trap 'echo told; exit 0' TERM; echo ready $$; while :; do sleep 0.05; done", log)
    assert.equal("told", process:line(command.patience))
    assert.equal(76, process:wait(command.patience))
    assert.truthy(rig.read(log):find('dsync: lost "name" (broken)', 1, true), rig.read(log))
  end)

  it("the child gets SIGKILL when it does not end, with its whole group", function()
    local process, pid = broken({ "--ttl", "10", "--kill-after=1.2" },
      "trap '' TERM; sleep 300 & trap 'echo told' TERM; echo ready $!; while :; do sleep 0.05; done")
    assert.truthy(process:expect("^told", command.patience))
    assert.equal(76, process:wait(command.patience))
    command.until_gone(pid)
  end)

  it("what the child leaves behind in its group is killed", function()
    local process, pid, _ = broken({}, "trap '' TERM; sleep 300 & trap 'exit 0' TERM; echo ready $!; wait; wait")
    assert.equal(76, process:wait(command.patience))
    command.until_gone(pid)
  end)

  it("the child is killed at once with --on-lost=kill", function()
    local process = broken({ "--on-lost=kill" }, "trap 'echo told' TERM; echo ready $$; while :; do sleep 0.05; done")
    assert.equal(76, process:wait(command.patience))
    assert.is_nil((process:expect("^told", 1)))
  end)

  it("the child goes on with --on-lost=ignore, and dsync ends with 76 even so", function()
    local process = broken({ "--on-lost", "ignore" },
      "trap 'echo told' TERM; echo ready $$; read -r _; echo finished; exit 0")
    suite.pause(0.3)
    process:write "go\n"
    assert.truthy(process:expect("^finished", command.patience))
    assert.equal(76, process:wait(command.patience))
  end)

  it("says so as JSON, with the reason", function()
    local json = require "dsync.json"
    local log = rig.tempdir() .. "/log"
    local process = broken({ "--json" }, "echo ready $$; exec sleep 300", log)
    assert.equal(76, process:wait(command.patience))
    local events = {}
    for line in rig.read(log):gmatch "{[^\n]+" do
      local event = assert(json.decode(line), line)
      events[event.event] = event
    end
    assert.equal("broken", events.lost.reason)
    assert.equal(143, events.exited.code)
  end)

  it("and the child ends well in the same moment, dsync still ends with 76", function()
    local d = command.client()
    local process = command.start { "run", "name", "sh", "-c", "echo ready; read -r _; exit 0" }
    process:expect "^ready"
    process:signal "STOP"
    ok(d:break_lock("name", { token = ok(d:lock("name"):holder()).token_string }))
    process:write "go\n"
    suite.pause(0.1)
    process:signal "CONT"
    assert.equal(76, process:wait(command.patience))
  end)
end)

if suite.backend == "etcd" then
  describe("when the network falls silent", function()
    it("the child is dead before the server lets anybody else have the lock", function()
      local d = command.client { ttl = 4 }
      local host, port = suite.url:match "([%w.]+):(%d+)"
      local forward = rig.start({ "python3", "spec/support/forward.py", host, port }, { merge = true })
      local _, near = assert(forward:expect("^port (%d+)", command.patience))
      local folder = rig.tempdir()
      local process = command.start({ "run", "--ttl", "4", "--kill-after", "60", "name", "bash", "-c", [[
        trap 'echo told' TERM
        echo ready $$
        while :; do cut -d' ' -f1 /proc/uptime >]] .. folder .. "/tick.new; mv " .. folder .. "/tick.new "
        .. folder .. "/tick; sleep 0.02; done" }, { env = { DSYNC_URL = (suite.url:gsub(port, near, 1)) } })
      local _, pid = assert(process:expect("^ready (%d+)", command.patience))
      suite.pause(1)
      forward:signal "STOP"
      ok(d:lock("name"):acquire { wait = command.patience })
      local now = tonumber(rig.read("/proc/uptime"):match "^%S+")
      local last = tonumber(rig.read(folder .. "/tick"))
      assert.is_false(command.lives(pid))
      assert.is_true(last < now, ("last sign of life %.2f, taken over %.2f"):format(last, now))
      assert.truthy(process:expect("^told", command.patience))
      assert.equal(76, process:wait(command.patience))
      forward:stop()
    end)
  end)
end
