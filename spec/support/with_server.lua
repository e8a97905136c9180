-- with_server.lua SERVER[,setting...] COMMAND...: runs a command while a server of that kind is up.
--
--   lua5.4 spec/support/with_server.lua etcd-3.5,tls,client_cert busted spec/conformance
--   lua5.4 spec/support/with_server.lua consul,nodes=3 busted spec/conformance
--
-- Settings are those of etcd.start (nodes=3, tls, client_cert, auth, auth_token_ttl=3, ...) or consul.start (nodes=3,
-- tls, client_cert, acl, ...), and kill_leader_after=SECONDS.
-- The command finds the server in DSYNC_TEST_URL, options for dsync.open, if it needs any, in the Lua
-- file DSYNC_TEST_OPTIONS, the first member's http address in DSYNC_TEST_HTTP, and in DSYNC_TEST_PID the process of a
-- server that has only one. Ends with the command's exit code.

package.path = "./?.lua;" .. package.path
local rig = require "spec.support.rig"

local kinds = { etcd = "spec.support.etcd", consul = "spec.support.consul" }

local function parse(text)
  local kind, version, rest = text:match "^(%a+)%-?([%d.]*)(.*)$"
  if not kinds[kind] then error("not a server: " .. text, 0) end
  local settings = { version = version ~= "" and version or nil }
  for setting in rest:gmatch "[^,]+" do
    local name, value = setting:match "^([%w_]+)=(.*)$"
    settings[name or setting] = value and (tonumber(value) or value) or value == nil
  end
  return require(kinds[kind]), settings
end

local function literal(value)
  if type(value) ~= "table" then return ("%q"):format(value) end
  local fields = {}
  for name, field in pairs(value) do fields[#fields + 1] = name .. " = " .. literal(field) end
  return "{ " .. table.concat(fields, ", ") .. " }"
end

local kind, settings = parse(arg[1])
local server = assert(kind.start(settings))
local options = "" -- none needed
if next(server.options) then
  options = rig.tempdir() .. "/options.lua"
  rig.write(options, "return " .. literal(server.options) .. "\n")
end

local command = {}
for i = 2, #arg do command[#command + 1] = arg[i] end
local started = os.time()
local child = rig.start(command, {
  merge = true,
  env = { DSYNC_TEST_URL = server.url, DSYNC_TEST_OPTIONS = options, DSYNC_TEST_HTTP = server.http,
    DSYNC_TEST_ETCD = server.version, DSYNC_TEST_PID = #server.nodes == 1 and server:pid() or "" },
})

local leader_dies_at = settings.kill_leader_after and started + settings.kill_leader_after
while true do
  local line, why = child:line(0.5)
  if line then
    print(line)
  elseif why == "eof" then
    break
  end
  if leader_dies_at and os.time() >= leader_dies_at then
    leader_dies_at = nil
    server:kill("KILL", server:leader())
  end
end
local code = child:wait(60) or 1
server:stop()
if leader_dies_at then
  print "with_server: the command ended before the leader was killed"
  code = code == 0 and 1 or code
end
os.exit(code, true)
