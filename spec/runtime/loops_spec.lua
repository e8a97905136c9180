-- The shared cases in every event loop that this machine has for this Lua.
local cases = require "spec.support.runtime_cases"
local runtimes = require "spec.support.runtimes"
local suite = require "spec.support.suite"

local function environment(name, runtime)
  local env = {
    dsync = suite.dsync, runtime = name, sleep = runtime.sleep, spawn = runtime.spawn, name = suite.name,
    crowd = 1000, server_pid = tonumber(os.getenv "DSYNC_TEST_PID" or ""),
  }
  function env.open_loose(options)
    options = options or {}
    if not runtime.auto then options.runtime = name end
    return suite.open_loose(options)
  end
  function env.signal_server(signal)
    os.execute(("kill -%s %d"):format(signal, env.server_pid))
  end
  return env
end

for _, name in ipairs { "plain", "cqueues", "luv", "copas" } do
  local runtime = runtimes[name]
  describe("in " .. name, function()
    after_each(suite.cleanup)
    local found = not runtime.module or pcall(require, runtime.module)
    for _, case in ipairs(cases) do
      if found then
        it(case.name, function()
          runtime.enter(function() cases.run(case, environment(name, runtime)) end)
        end)
      end
    end
    if not found then
      pending("is not installed for this Lua")
    end
  end)
end
