-- run.lua BACKEND CAMPAIGN FAULTS SEED REPORT: starts two clusters of one member each and runs the campaign on them.
--
-- A short run of which nothing is wrong but that calls ended late is repeated: a machine can be late in ways that no
-- process sees, and what the library does late it does late again.

package.path = "./?.lua;" .. package.path
local rig = require "spec.support.rig"

local ONLY_LATE = 3 -- the campaign's exit status
local SHORT_RUN, RUNS = 1000, 3 -- faults; times

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

local function run()
  local server, other = assert(kind.start(settings)), assert(kind.start(settings))
  local child = rig.start({ program, backend, server.nodes[1].port, other.nodes[1].port, faults, seed, report },
    { merge = true })
  local code = child:relay()
  server:stop()
  other:stop()
  return code
end

local runs, code = tonumber(faults) <= SHORT_RUN and RUNS or 1, nil
for n = 1, runs do
  code = run()
  if code ~= ONLY_LATE or n == runs then
    break
  end
  print(("proxy: calls ended late: run %d of %d follows"):format(n + 1, runs))
end
os.exit(code, true)
