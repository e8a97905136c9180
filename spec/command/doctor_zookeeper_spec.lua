-- dsync doctor, of a ZooKeeper: each fault is told apart from the others, on real servers that have it.
local command = require "spec.support.command"
local doctor = require "spec.support.doctor"
local etcd = require "spec.support.etcd"
local rig = require "spec.support.rig"
local suite = require "spec.support.suite"
local zookeeper = require "spec.support.zookeeper"

if suite.backend ~= "zookeeper" then return end

local examine, finds = doctor.examine, doctor.finds

describe("dsync doctor, of a ZooKeeper", function()
  local server
  before_each(command.fresh)
  after_each(function()
    if server then server:stop() end
    server = nil
    suite.cleanup()
  end)

  it("knows its version", function()
    local code, _, checks, all = examine(suite.url)
    assert.equal(0, code, all)
    assert.truthy(checks.connect.detail:find("ZooKeeper %d+%.%d+"), all)
  end)

  it("nothing listens, or another server", function()
    finds("nothing_listening", 69, "zookeeper://127.0.0.1:" .. rig.ports(1)[1])
    server = etcd.start {}
    if server then finds("wrong_protocol", 69, (server.url:gsub("^etcd:", "zookeeper:"))) end
  end)

  it("a server that is stopped, and a chroot that is not there", function()
    server = assert(zookeeper.start {})
    finds("settings", 78, server.url .. "/not/there")
    server:pause(1)
    finds("silent", 69, server.url)
    server:resume(1)
  end)

  it("nodes of somebody else's", function()
    server = assert(zookeeper.start {})
    assert.equal(0, (examine(server.url, { DSYNC_DIGEST = "me:secret" })))
    finds("permission", 77, server.url, { DSYNC_DIGEST = "me:guess" })
    local _, _, _, all = examine(server.url, { DSYNC_DIGEST = "me:guess" })
    assert.is_nil(all:find("guess", 1, true))
    finds("auth_missing", 77, server.url)
  end)

  it("an ensemble without a leader", function()
    server = assert(zookeeper.start { nodes = 3 })
    local alone = "zookeeper://127.0.0.1:" .. server.nodes[1].port
    server:kill("KILL", 3)
    server:kill("KILL", 2)
    doctor.comes_to_find("no_leader", alone)
  end)
end)
