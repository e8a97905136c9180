-- dsync run: signals on their way to the child, and what happens to the child when dsync is killed or stopped.
local command = require "spec.support.command"
local rig = require "spec.support.rig"
local suite = require "spec.support.suite"
local ok = suite.ok

before_each(command.fresh)
after_each(suite.cleanup)

-- A shell that says "ready", and the name of every signal it gets; "bye" and 7 on USR2.
local LISTENER = [[
  for name in TERM INT HUP QUIT USR1; do trap "echo $name" $name; done
  trap 'echo bye; exit 7' USR2
  echo ready $$
  while :; do sleep 0.05; done
]]

local function listen(options)
  local list = { "run" }
  for _, word in ipairs(options or {}) do list[#list + 1] = word end
  for _, word in ipairs { "name", "bash", "-c", LISTENER } do list[#list + 1] = word end
  local process = command.start(list)
  local _, pid = assert(process:expect("^ready (%d+)", command.patience))
  return process, tonumber(pid)
end

describe("a signal to dsync run", function()
  it("goes on to the child", function()
    local process = listen()
    for _, name in ipairs { "HUP", "INT", "QUIT", "USR1", "TERM" } do
      process:signal(name)
      assert.equal(name, process:expect("^" .. name .. "$", command.patience)) -- bash has its own remarks
    end
    process:signal "USR2"
    assert.truthy(process:expect("^bye$", command.patience))
    assert.equal(7, process:wait(command.patience))
  end)

  it("goes to the child's whole group", function()
    local process = command.start { "run", "name", "bash", "-c",
      "trap : USR1; (trap 'echo inner; exit' USR1; echo ready; while :; do sleep 0.05; done) & wait; wait" }
    assert(process:expect("^ready", command.patience))
    process:signal "USR1"
    assert.truthy(process:expect("^inner$", command.patience))
    assert.equal(0, process:wait(command.patience))
  end)

  it("kills it, when it is the second SIGTERM", function()
    local process, pid = listen()
    process:signal "TERM"
    assert.truthy(process:expect("^TERM$", command.patience))
    process:signal "TERM"
    assert.equal(137, process:wait(command.patience))
    command.until_gone(pid)
  end)

  it("ends it with 143 when the child does not mind", function()
    local process = command.start { "run", "name", "sh", "-c", "echo ready; exec sleep 60" }
    process:expect "^ready"
    process:signal "TERM"
    assert.equal(143, process:wait(command.patience))
  end)

  it("goes to the child alone, with --foreground", function()
    local process = command.start { "run", "--foreground", "name", "bash", "-c",
      "trap 'echo outer; exit 3' USR1; (trap 'echo inner' USR1; echo ready; sleep 0.5; echo end) & wait; wait" }
    assert(process:expect("^ready", command.patience))
    process:signal "USR1"
    assert.equal("outer", process:line(command.patience))
    assert.equal(3, process:wait(command.patience))
    assert.equal("end", process:line(command.patience))
  end)
end)

describe("when dsync run is killed", function()
  local function killed(options, line)
    local d = command.client()
    local list = { "run", "--ttl", tostring(suite.short_ttl) }
    for _, word in ipairs(options) do list[#list + 1] = word end
    for _, word in ipairs { "name", "bash", "-c", line } do list[#list + 1] = word end
    local process = command.start(list)
    local _, first, second = assert(process:expect("^ready (%d+) (%d+)", command.patience))
    process:signal "KILL"
    command.until_gone(first)
    return d, tonumber(second)
  end

  it("the child dies with everything it has started, and the lock becomes free", function()
    local d, grandchild = killed({}, "trap '' TERM INT HUP; sleep 300 & echo ready $$ $!; wait")
    command.until_gone(grandchild)
    ok(d:lock("name"):acquire { wait = command.patience })
  end)

  it("the child dies, with --foreground and --on-lost=ignore, too", function()
    local d = killed({ "--foreground", "--on-lost=ignore" },
      "trap '' TERM; echo ready $$ 0; while :; do sleep 0.1; done")
    ok(d:lock("name"):acquire { wait = command.patience })
  end)
end)

if suite.backend ~= "local" then
  describe("when dsync run is stopped for longer than the lock lasts", function()
    it("the child is killed before anybody else has the lock", function()
      local d = command.client()
      local ttl = suite.short_ttl
      local log = rig.tempdir() .. "/ticks"
      local process = command.start { "run", "--ttl", tostring(ttl), "name", "bash", "-c",
        "trap '' TERM; echo ready $$; while :; do cut -d' ' -f1 /proc/uptime >>" .. log .. "; sleep 0.02; done" }
      local _, pid = assert(process:expect("^ready (%d+)", command.patience))
      process:signal "STOP"
      ok(d:lock("name"):acquire { wait = command.patience })
      assert.is_false(command.lives(pid))
      process:signal "CONT"
      assert.equal(76, process:wait(command.patience))
    end)
  end)
end
