-- What `dsync run` costs: until its program's first instruction, against a bare Lua; and whole, against etcdctl lock
-- and consul lock.
--
--   eval "$(script/env 5.4)"
--   lua5.4 bench/command.lua [RUNS]
--
-- The commands take turns, so that a busy machine is busy for all of them; least and median of RUNS (default 40),
-- and the ratios of both.

package.path = "./?.lua;" .. package.path
local consul = require "spec.support.consul"
local etcd = require "spec.support.etcd"
local process = require "dsync.process"
local rig = require "spec.support.rig"

local RUNS = tonumber(arg[1]) or 40

local function now()
  return (process.clock())
end

-- Milliseconds until the command prints the time (`date`), or until it has ended.
local function once(one)
  local began = now()
  local pipe = assert(io.popen(one.line))
  local printed = pipe:read "*l"
  pipe:close()
  return ((one.stamps and tonumber(printed) / 1e9 or now()) - began) * 1000
end

local function compare(title, list)
  print(title)
  for _ = 1, RUNS do
    for _, one in ipairs(list) do one[#one + 1] = once(one) end
  end
  for _, one in ipairs(list) do
    table.sort(one)
    local least, middle = one[1], one[math.ceil(RUNS / 2)]
    print(("  %-28s least %7.2f ms   median %7.2f ms   ratios %.2f, %.2f"):format(one.name, least, middle,
      least / list[1][1], middle / list[1][math.ceil(RUNS / 2)]))
  end
end

local stamp = "date +%s%N"
local dsync = "exec lua5.4 bin/dsync run --url "
local base = rig.tempdir()
compare("until the first instruction", {
  { name = "lua5.4 -e '' and exec", line = "lua5.4 -e ''; exec " .. stamp, stamps = true },
  { name = "dsync run, local:", line = dsync .. "local:" .. base .. "/locks.db name " .. stamp, stamps = true },
})

for _, version in ipairs { "3.4", "3.5" } do
  local server = etcd.start { version = version }
  if server then
    compare("as a whole, etcd " .. version, {
      { name = "etcdctl lock NAME true", line = "ETCDCTL_API=3 exec " .. server.bin .. "/etcdctl --endpoints "
        .. server.endpoints[1] .. " lock name true" },
      { name = "dsync run NAME true", line = dsync .. server.url .. " name true" },
      { name = "dsync run, in JSON", line = dsync .. server.url .. " -o etcd.transport=json name true" },
    })
    server:stop()
  end
end

local server = consul.start()
if server then
  compare("as a whole, Consul " .. server.version, {
    { name = "consul lock NAME true", line = "exec " .. server.bin .. "/consul lock -shell=false -http-addr="
      .. server.http .. " name true" },
    { name = "dsync run NAME true", line = dsync .. server.url .. " name true" },
  })
  server:stop()
end
