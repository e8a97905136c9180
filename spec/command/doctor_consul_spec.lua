-- dsync doctor, of a Consul: each fault is told apart from the others, on real agents that have it.
local command = require "spec.support.command"
local consul = require "spec.support.consul"
local doctor = require "spec.support.doctor"
local etcd = require "spec.support.etcd"
local rig = require "spec.support.rig"
local suite = require "spec.support.suite"

if suite.backend ~= "consul" then return end

local examine, finds = doctor.examine, doctor.finds

describe("dsync doctor, of a Consul", function()
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
    assert.truthy(checks.server.detail:find("^Consul %d+%.%d+"), all)
  end)

  it("nothing listens, or another server", function()
    finds("nothing_listening", 69, "consul://127.0.0.1:" .. rig.ports(1)[1])
    server = etcd.start {}
    if server then finds("wrong_protocol", 69, (server.url:gsub("^etcd:", "consul:"))) end
    finds("wrong_protocol", 69, (suite.url:gsub("^consul:", "etcd:")))
  end)

  it("TLS on one side only", function()
    finds("tls_unexpected", 78, (suite.url:gsub("^consul:", "consuls:")))
    server = assert(consul.start { tls = true })
    finds("tls_needed", 78, (server.url:gsub("^consuls:", "consul:")))
    finds("certificate_untrusted", 77, server.url)
    assert.equal(0, (examine(server.url, { DSYNC_TLS_CA = server.certs.ca })))
  end)

  it("no token, one that nobody knows, and keys that are not its own", function()
    server = assert(consul.start { acl = true })
    finds("auth_missing", 77, server.url)
    finds("auth_wrong", 77, server.url, { DSYNC_AUTH_TOKEN = "00000000-0000-0000-0000-000000000000" })
    local env = { DSYNC_AUTH_TOKEN = server.token, DSYNC_PREFIX = "elsewhere" }
    finds("permission", 77, server.url, env)
    env.DSYNC_PREFIX = "dsync"
    local code, _, _, all = examine(server.url, env)
    assert.equal(0, code, all)
    assert.is_nil(all:find(server.token, 1, true))
  end)

  it("a cluster without a leader", function()
    server = assert(consul.start { nodes = 3 })
    local alone = "consul://" .. server.nodes[1].endpoint
    server:kill("KILL", 3)
    server:kill("KILL", 2)
    doctor.comes_to_find("no_leader", alone)
  end)
end)
