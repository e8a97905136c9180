-- A busy function is stopped when another process takes the lock away, or the server ends the session.
local suite = require "spec.support.suite"
local busy = require "spec.support.busy"
local child = require "spec.support.suite_child"
local ok = suite.ok

local ROUNDS = 20
local PROMPT = 0.1

local breaker = [[
  local dsync = require "dsync"
  local now = require "dsync.core".now
  local options = arg[2] ~= "" and loadfile(arg[2])() or {}
  options.prefix = arg[3]
  local d = assert(dsync.open(arg[1], options))
  print "ready"
  for line in io.lines() do
    local name, token = line:match "^(%S+) (%d+)$"
    dsync.sleep(0.05)
    assert(d:break_lock(name, { token = token }))
    print(("%.6f"):format(now()))
  end
]]

describe("a guard", function()
  if suite.backend == "memory" then
    pending "needs a store that another process can reach"
    return
  end
  local d, other
  before_each(function()
    d = suite.open()
    other = child.start(breaker, nil, suite.url, suite.options_file or "", suite.prefix())
    assert(other:expect("^ready", suite.patience))
  end)
  after_each(function()
    other:stop()
    suite.cleanup()
  end)

  for what, fn in pairs { ["ends a busy loop"] = busy.for_ever, ["ends one that swallows errors"] = busy.stubborn } do
    it(what .. " when somebody breaks the lock", function()
      local late = {}
      for i = 1, ROUNDS do
        local name = suite.name()
        local lock = ok(d:lock(name):acquire())
        other:write(name .. " " .. lock:token_string() .. "\n")
        local message = busy.lost(lock:guard(fn))
        local stopped = busy.now()
        assert.truthy(message:find("broken", 1, true) or message:find("deleted", 1, true), message)
        local told = assert(other:expect("^([%d.]+)", suite.patience))
        late[i] = stopped - tonumber(told)
      end
      local median = busy.median(late)
      assert.is_true(median < PROMPT, "median " .. median)
    end)
  end
end)
