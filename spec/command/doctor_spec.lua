-- dsync doctor: each fault is told apart from the others, on real servers that have it.
local command = require "spec.support.command"
local doctor = require "spec.support.doctor"
local etcd = require "spec.support.etcd"
local rig = require "spec.support.rig"
local suite = require "spec.support.suite"

before_each(command.fresh)
after_each(suite.cleanup)

local examine, finds = doctor.examine, doctor.finds

describe("dsync doctor", function()
  it("finds nothing wrong where nothing is", function()
    local code, faults, checks, all = examine(suite.url)
    assert.equal(0, code, all)
    for _, check in ipairs { "options", "server", "lock", "watch", "clock" } do
      assert.equal("ok", checks[check] and checks[check].status, all)
    end
    for _, finding in pairs(faults) do assert.equal("version_bug", finding.fault) end
    local out
    code, out = command.run { "doctor" }
    assert.equal(0, code)
    assert.truthy(out:find("locks work here, 0 faults, %d+ warnings?\n"), out)
  end)

  it("counts in words: one fault", function()
    local code, out = command.run { "doctor", "--url", "etcd://127.0.0.1:" .. rig.ports(1)[1] }
    assert.equal(69, code)
    assert.truthy(out:find("locks do not work here, 1 fault, 0 warnings\n", 1, true), out)
  end)

  it("says of memory: that nobody else sees it", function()
    local code, out = command.run { "doctor", "--url", "memory:" }
    assert.equal(0, code)
    assert.truthy(out:find("WARN +options +memory: is this process alone: nobody else sees these locks\n"), out)
    assert.truthy(out:find("locks work here, 0 faults, 1 warning\n", 1, true), out)
  end)

  it("tells of options that cannot work", function()
    finds("settings", 78, "gopher://127.0.0.1")
  end)
end)

describe("the doctor's clock", function()
  local clock = require "dsync.cli.doctor.clock"

  it("notices that it was set, not that it was slewed", function()
    assert.equal("ok", clock.judge({ 1000, 10 }, { 1002.001, 12 }).status)
    local finding = clock.judge({ 1000, 10 }, { 1062, 12 })
    assert.same({ "warn", "clock_jump" }, { finding.status, finding.fault })
    assert.truthy(finding.detail:find("forward by 60s", 1, true))
    assert.truthy(clock.judge({ 1000, 10 }, { 1001, 12 }).detail:find("back by 1", 1, true))
  end)

  it("is compared with the server's date", function()
    local now = clock.parse "Thu, 29 Feb 2024 12:34:56 GMT"
    assert.equal(1709210096, now)
    assert.equal(0, clock.parse "Thu, 01 Jan 1970 00:00:00 GMT")
    assert.is_nil(clock.compare("x", "Thu, 29 Feb 2024 12:34:56 GMT", now + 2))
    local finding = clock.compare("x", "Thu, 29 Feb 2024 12:34:56 GMT", now + 200)
    assert.truthy(finding.detail:find("3m ahead", 1, true), finding.detail)
    assert.is_nil(clock.compare("x", nil, now))
  end)
end)

describe("the doctor's memory of bad versions", function()
  local versions = require "dsync.cli.doctor.versions"
  for server, count in pairs {
    ["etcd 3.4.23"] = 1, ["etcd 3.4.31"] = 0, ["etcd 3.5.0"] = 2, ["etcd 3.5.12"] = 1, ["etcd 3.5.13"] = 0,
    ["etcd 3.6.0"] = 0, ["ZooKeeper 3.4.10"] = 1, ["ZooKeeper 3.8.0"] = 0, ["Consul 1.8.7"] = 0, ["etcd"] = 0,
  } do
    it("knows " .. count .. " faults of " .. server, function()
      assert.equal(count, #versions.bugs(server))
    end)
  end
end)

if suite.backend == "etcd" then
  describe("dsync doctor, of an etcd", function()
    local server
    after_each(function()
      if server then server:stop() end
      server = nil
    end)

    local function with(settings)
      server = assert(etcd.start(settings))
      return server.url
    end

    it("knows its version and that version's faults", function()
      local _, faults, checks, all = examine(suite.url)
      local version = checks.server.detail:match "etcd ([%d.]+)"
      assert.truthy(version, all)
      assert.equal(#require("dsync.cli.doctor.versions").bugs("etcd " .. version) > 0, faults.version_bug ~= nil, all)
    end)

    it("nothing listens, or nothing of that name exists", function()
      finds("nothing_listening", 69, "etcd://127.0.0.1:" .. rig.ports(1)[1])
      finds("unresolved", 69, "etcd://nowhere.invalid:2379")
    end)

    it("another protocol, another HTTP server, or nobody who speaks", function()
      local function listen(program)
        local port = rig.ports(1)[1]
        local argv = { "python3", "-uc", "import sys, socket\n" .. program, tostring(port) }
        local process = rig.start(argv, { merge = true })
        assert(process:expect("^up", command.patience))
        return "etcd://127.0.0.1:" .. port, process
      end
      local greet = [[
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("up")
while True:
    c, _ = s.accept()
    c.recv(4096)
    c.sendall(%s)
    c.close()
]]
      local function answer(text) return greet:format(text) end
      finds("wrong_protocol", 69, (listen(answer 'b"SSH-2.0-OpenSSH_9.2\\r\\n"')))
      finds("wrong_protocol", 69, (listen(answer 'b"HTTP/1.0 404 Not Found\\r\\n\\r\\nnothing"')))
      finds("proxy", 69, (listen(answer 'b"HTTP/1.1 502 Bad Gateway\\r\\nServer: nginx/1.22\\r\\n\\r\\n<html>"')))
      finds("proxy", 69, (listen(answer 'b"HTTP/1.1 407 No\\r\\nVia: 1.1 squid\\r\\n\\r\\n"')))
      finds("silent", 69, (listen(answer 'b""')))
      local _, faults = examine((listen(answer
        [[b'HTTP/1.1 200 OK\r\nVia: 1.1 gate\r\nDate: Thu, 29 Feb 2024 12:34:56 GMT\r\n\r\n{"etcdserver":"3.4.23"}']])))
      assert.equal("warn", faults.proxy.status)
      assert.equal("warn", faults.clock_skew.status)
    end)

    it("TLS on one side only", function()
      finds("tls_unexpected", 78, (suite.url:gsub("^etcd:", "etcds:")))
      finds("tls_needed", 78, (with({ tls = true }):gsub("^etcds:", "etcd:")))
    end)

    it("a certificate that nobody vouches for, that has expired, or is another's", function()
      local url = with { tls = true }
      finds("certificate_untrusted", 77, url)
      assert.equal(0, (examine(url, { DSYNC_TLS_CA = server.certs.ca })))
      server:stop()
      url = with { tls = true, identity = "expired" }
      finds("certificate_expired", 77, url, { DSYNC_TLS_CA = server.certs.ca })
      server:stop()
      url = with { tls = true, identity = "wrong_name" }
      finds("certificate_name", 77, url, { DSYNC_TLS_CA = server.certs.ca })
    end)

    it("no certificate of ours, or one that the server does not know", function()
      local url = with { tls = true, client_cert = true }
      finds("client_certificate", 77, url, { DSYNC_TLS_CA = server.certs.ca })
      finds("tls_files", 78, url, { DSYNC_TLS_CA = "/no/such/file" })
    end)

    it("credentials missing or wrong, and keys that are not ours", function()
      local url = with { auth = true }
      finds("auth_missing", 77, url)
      finds("auth_wrong", 77, url, { DSYNC_USER = "dsync", DSYNC_PASSWORD = "guess" })
      finds("permission", 77, url, { DSYNC_USER = "dsync", DSYNC_PASSWORD = "secret" })
      assert.equal(0, (examine(url, { DSYNC_USER = "dsync", DSYNC_PASSWORD = "secret", DSYNC_PREFIX = "dsync/x" })))
    end)

    it("a cluster without a leader, and one endpoint of several that is down", function()
      with { nodes = 3 }
      local all = server.url
      server:kill("KILL", 3)
      finds("nothing_listening", 69, all)
      server:kill("KILL", 2)
      local alone = "etcd://" .. server.nodes[1].endpoint
      -- It takes a moment until the one that is left knows that it is alone.
      doctor.comes_to_find("no_leader", alone)
    end)

    it("a member that only learns, and a database that is full", function()
      with { nodes = 1 }
      local ports = rig.ports(2)
      local peer = "http://127.0.0.1:" .. ports[2]
      assert(server:etcdctl { "member", "add", "learner", "--learner", "--peer-urls=" .. peer })
      local learner = rig.start({ server.bin .. "/etcd", "--name", "learner", "--data-dir", rig.tempdir(),
        "--listen-client-urls", "http://127.0.0.1:" .. ports[1],
        "--advertise-client-urls", "http://127.0.0.1:" .. ports[1],
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
        "--initial-cluster", "n1=" .. server.nodes[1].peer .. ",learner=" .. peer,
        "--initial-cluster-state", "existing", "--logger", "zap", "--log-outputs", "stderr" }, { merge = true })
      assert(learner:expect("now serving peer/client", command.patience))
      suite.eventually("a learner that answers", function()
        return select(2, examine("etcd://127.0.0.1:" .. ports[1])).read_only
      end)
      finds("read_only", 69, "etcd://127.0.0.1:" .. ports[1])
      learner:stop()
      server:stop()

      local url = with { quota = 16 * 1024 * 1024 }
      local filler = rig.tempdir() .. "/filler"
      rig.write(filler, ("x"):rep(1024 * 1024))
      for i = 1, 40 do
        local ok = server:etcdctl({ "put", "filler" .. i }, { input = rig.read(filler) })
        if not ok then break end
      end
      finds("space", 71, url)
    end)
  end)
end
