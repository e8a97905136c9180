-- run.lua BACKEND CAMPAIGN FAULTS SEED REPORT: starts two clusters of one member each and runs the campaign on them.

package.path = "./?.lua;" .. package.path
local rig = require "spec.support.rig"

-- All connections of the campaign come from one address: more of them than Consul allows one client by default.
local kinds = {
  etcd = {},
  ["etcd-grpc"] = {},
  zookeeper = {},
  consul = { extra = { limits = { http_max_conns_per_client = 4000 } } },
}

local backend, program, faults, seed, report = arg[1], arg[2], arg[3], arg[4], arg[5]
local settings = kinds[backend]
if not settings then
  error("BACKEND: no campaign for " .. tostring(backend) .. ", only etcd, etcd-grpc, consul, zookeeper", 0)
end
local kind = require("spec.support." .. backend:match "^%a+")
local server, other = assert(kind.start(settings)), assert(kind.start(settings))
local child = rig.start({ program, backend, server.nodes[1].port, other.nodes[1].port, faults, seed, report },
  { merge = true })
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
