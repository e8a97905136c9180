-- A child Lua program under the same interpreter and module paths: another participant, in another process.
--
--   local w = worker.start("spec/support/workers/holder.lua", { args = { url, "name" } })
--   assert(w:expect("^held (%d+)", 5))     -- lines of its standard output
--   w:write("release\n")                   -- its standard input
--   w:signal "STOP"                        -- and "CONT", "KILL", "TERM"
--   w:wait(5)                              -- exit code
--   w:stop()
--
-- Its standard output is unbuffered by the prelude below. What it wrote to standard error: w:errors().

local rig = require "spec.support.rig"

local worker = {}

local prelude = [[
io.stdout:setvbuf "line"
local script = table.remove(arg, 1)
arg[0] = script
local chunk = assert(loadfile(script))
chunk((table.unpack or unpack)(arg))
]]

local function launch(script, options)
  options = options or {}
  local folder = rig.tempdir()
  rig.write(folder .. "/prelude.lua", prelude)
  local argv = { rig.interpreter(), folder .. "/prelude.lua", script }
  for _, value in ipairs(options.args or {}) do argv[#argv + 1] = tostring(value) end
  local child = rig.start(argv, { env = options.env, log = folder .. "/log" })
  return child
end

-- options: args (list), env (table).
function worker.start(script, options)
  return launch(script, options)
end

-- The program given as text instead of as a file.
function worker.run(text, options)
  local path = rig.tempdir() .. "/worker.lua"
  rig.write(path, text)
  return launch(path, options)
end

-- Everything it has printed so far, errors included.
function worker.output(child)
  return rig.read(child.log) or ""
end

return worker
