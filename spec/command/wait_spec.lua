-- dsync run: waiting for a lock, giving up, and being interrupted before the command has begun.
local command = require "spec.support.command"
local rig = require "spec.support.rig"
local suite = require "spec.support.suite"
local in_time = require "spec.support.in_time"
local ok = suite.ok

before_each(command.fresh)
after_each(suite.cleanup)

-- A file that exists when the command has run.
local function trace()
  return rig.tempdir() .. "/it-ran"
end

describe("dsync run, while somebody else holds", function()
  local d
  before_each(function()
    d = command.client()
    ok(d:lock("name"):acquire())
  end)

  local cases = {
    { "--try", { "--try" }, 75 },
    { "--wait=S", { "--wait=0.2" }, 75 },
    { "--wait=0", { "--wait=0" }, 75 },
    { "-E with --try", { "--try", "-E", "0" }, 0 },
    { "-E with --wait", { "-E200", "--wait=200ms" }, 200 },
  }
  for _, row in ipairs(cases) do
    it(("ends with %d for %s, and does not start the command"):format(row[3], row[1]), function()
      local file, list = trace(), { "run" }
      for _, word in ipairs(row[2]) do list[#list + 1] = word end
      for _, word in ipairs { "name", "touch", file } do list[#list + 1] = word end
      local code, _, err = command.run(list)
      assert.equal(row[3], code)
      assert.truthy(err:find("name", 1, true) or err:find("held by", 1, true), err)
      assert.is_nil(rig.read(file))
      assert.equal(0, #ok(d:lock("name"):waiters()))
    end)
  end

  it("names who holds it, when it only tries", function()
    local _, _, err = command.run { "run", "--try", "name", "true" }
    assert.truthy(err:find(d:id(), 1, true), err)
  end)

  for name, number in pairs { INT = 2, TERM = 15, HUP = 1, QUIT = 3 } do
    it("ends with " .. 128 + number .. " on SIG" .. name .. ", and never starts the command", function()
      local file = trace()
      local waiter = command.start { "run", "name", "touch", file }
      suite.until_waiting(d, "name", 1)
      waiter:signal(name)
      assert.equal(128 + number, waiter:wait(command.patience))
      assert.equal(0, #ok(d:lock("name"):waiters()))
      ok(d:lock("other"):try())
      assert.is_nil(rig.read(file))
    end)
  end

  it("starts the command as soon as it is free", function()
    for _, option in ipairs { "--wait", "--wait=50", "--ttl=15" } do
      local one = command.client()
      local name = "name-" .. option
      local lock = ok(one:lock(name):acquire())
      local waiter = command.start { "run", option, name, "echo", "mine" }
      suite.until_waiting(one, name, 1)
      ok(lock:release())
      assert.equal("mine", waiter:line(command.patience))
      assert.equal(0, waiter:wait(command.patience))
    end
  end)
end)

if suite.backend == "etcd" then
  describe("dsync, when nothing listens", function()
    local nowhere
    setup(function() nowhere = "etcd://127.0.0.1:" .. rig.ports(1)[1] end)

    for _, list in ipairs {
      { "run", "name", "true" }, { "run", "--wait=60", "name", "true" }, { "run", "--try", "name", "true" },
      { "elect", "name" }, { "elect", "--forever", "name", "true" }, { "hold", "name" },
      { "locks" }, { "members" }, { "leader", "name" }, { "watch" }, { "status", "name" },
      { "break", "name", "--token", "1" },
    } do
      it("ends with 69 within 5 s: " .. table.concat(list, " "), in_time(function(within)
        local began = suite.now()
        local process = command.start(list, { env = { DSYNC_URL = nowhere } })
        assert.truthy(process:expect("connection refused", command.patience))
        assert.equal(69, process:wait(command.patience))
        within(5.5, suite.now() - began, "the end") -- half a second is for starting it
      end))
    end

    it("can be interrupted before that", function()
      local process = command.start({ "run", "name", "true" }, { env = { DSYNC_URL = nowhere } })
      suite.pause(0.3)
      process:signal "INT"
      assert.equal(130, process:wait(command.patience))
    end)
  end)
end
