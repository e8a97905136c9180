-- Lua programs in processes of their own, for what one process cannot show: another environment, a death, a stop.
local rig = require "spec.support.rig"

local child = {}

function child.environment(env)
  local all = { LUA_PATH = package.path, LUA_CPATH = package.cpath }
  for name, value in pairs(env or {}) do all[name] = value end
  return all
end

-- Runs a program text to its end; returns standard output, exit code, standard error.
function child.run(code, env, ...)
  local path = rig.tempdir() .. "/program.lua"
  rig.write(path, code)
  local status, out, err = rig.run({ rig.interpreter(), path, ... }, { env = child.environment(env), timeout = 60 })
  return out, status, err
end

-- The same, for programs that must succeed: returns what it printed.
function child.lua(code, env, ...)
  local out, status, err = child.run(code, env, ...)
  if status ~= 0 then error(("child ended with %s: %s%s"):format(tostring(status), tostring(out), tostring(err)), 2) end
  return out
end

-- Starts a program text in the background; returns a rig process (line, expect, write, signal, wait, stop).
function child.start(code, env, ...)
  local path = rig.tempdir() .. "/program.lua"
  rig.write(path, 'io.stdout:setvbuf "line"\n' .. code)
  return rig.start({ rig.interpreter(), path, ... }, { env = child.environment(env), merge = true })
end

return child
