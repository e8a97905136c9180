-- Packets to the server are dropped, not refused: the holder is told by its own deadline, not minutes later. Needs a
-- network namespace of its own, and iptables in it; the test says so where it may have neither.
local in_time = require "spec.support.in_time"
local child = require "spec.support.suite_child"
local rig = require "spec.support.rig"

local TTL_S = 10

-- A server and its clients, alone on a loopback of their own. Arguments: folder of the specs, ttl.
local ISLAND = [[
  package.path = arg[1] .. "/?.lua;" .. package.path
  local consul, dsync, system = require "spec.support.consul", require "dsync", require "system"
  local ttl = tonumber(arg[2])
  local server = assert(consul.start {})
  local function drop(what)
    local rule = "iptables -%s %s -p tcp --%s " .. server.nodes[1].port .. " -j DROP"
    assert(os.execute(rule:format(what, "INPUT", "dport")))
    assert(os.execute(rule:format(what, "INPUT", "sport")))
  end
  local d = assert(dsync.open(server.url, { ttl = ttl, close_timeout = 1 }))
  local lock = assert(d:lock("x"):acquire())
  dsync.sleep(1)
  local began = system.monotime()
  drop "A"
  local reason = lock:revoked(60)
  print(("told %s %.2f"):format(tostring(reason), system.monotime() - began))
  print("held " .. tostring(lock:held()))
  drop "D"
  local fresh = assert(dsync.open(server.url, { ttl = ttl })):lock("x")
  assert(fresh:acquire { wait = 60 })
  print("higher " .. tostring(fresh:token() > lock:token()))
  fresh:release()
  d:close()
  server:stop()
  print "end"
]]

local function why_not()
  local code = rig.run { "unshare", "-n", "sh", "-c",
    "ip link set lo up && iptables -A INPUT -p tcp --dport 1 -j DROP && iptables -D INPUT -p tcp --dport 1 -j DROP" }
  return code ~= 0 and "no network namespace, or no iptables in it, for this user" or nil
end

describe("when packets to the server are dropped", function()
  it("the holder is told by its own deadline", in_time(function(within)
    local reason = why_not()
    if reason then
      print("SKIPPED: " .. reason)
      return pending(reason)
    end
    local folder = rig.tempdir()
    rig.write(folder .. "/island.lua", ISLAND)
    local env = child.environment()
    local code, out, err = rig.run({ "unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh",
      rig.interpreter(), folder .. "/island.lua", ".", TTL_S }, { env = env, timeout = 150 })
    assert.equal(0, code, tostring(out) .. tostring(err))
    local why, after = out:match "told (%S+) ([%d.]+)"
    assert.equal("expired", why, out)
    print(("packets dropped, ttl %d s: told after %s s"):format(TTL_S, after))
    within(TTL_S, tonumber(after), "the notice")
    assert.truthy(out:find("held false", 1, true), out)
    assert.truthy(out:find("higher true", 1, true), out)
    assert.truthy(out:find("end\n", 1, true), out)
  end))
end)
