-- run.lua BACKEND CAMPAIGN FAULTS SEED REPORT: starts two clusters of one member each and runs the campaign on them.

package.path = "./?.lua;" .. package.path
local etcd = require "spec.support.etcd"
local rig = require "spec.support.rig"

local backend, program, faults, seed, report = arg[1], arg[2], arg[3], arg[4], arg[5]
if backend ~= "etcd" then error("BACKEND: no campaign for " .. tostring(backend) .. ", only for etcd", 0) end
local server, other = assert(etcd.start {}), assert(etcd.start {})
local child = rig.start({ program, server.nodes[1].port, other.nodes[1].port, faults, seed, report }, { merge = true })
while true do
  local line, why = child:line(1)
  if line then
    print(line)
    io.stdout:flush()
  elseif why == "eof" then
    break
  end
end
local code = child:wait(60) or 1
server:stop()
other:stop()
os.exit(code, true)
