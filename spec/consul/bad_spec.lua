-- Agents that cannot be reached, refuse, have no leader, or are no Consul: a clear message, a stable code, in time.
local rig = require "spec.support.rig"
local suite = require "spec.support.suite"
local in_time = require "spec.support.in_time"
local tools = require "spec.support.suite_consul"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*/[^/]*$"

local GONE = { unavailable = true, timeout = true }

-- Every call ends by its own time with one of these codes. Returns what the ping said.
local function all_calls_fail(within, address, codes, options)
  options = options or {}
  options.close_timeout = 1
  local d = assert(dsync.open(address, options))
  local said
  local function timed(what, limit, fn)
    dsync.spawn(function()
      local began = suite.now()
      local value, message, code = fn()
      assert.is_nil(value, what)
      assert.truthy(codes[code], ("%s: %s: %s"):format(what, tostring(code), tostring(message)))
      within(limit + 2, suite.now() - began, what)
      said = what == "ping" and message or said
    end)
  end
  dsync.run(function()
    timed("ping", 1, function() return d:ping(1) end)
    timed("acquire", 1, function() return d:lock "x":acquire { wait = 1 } end)
    timed("elect", 1, function() return d:leader "x":elect { wait = 1 } end)
    timed("try", 6, function() return d:lock "y":try() end)
    timed("get", 6, function() return d:get "k" end)
    timed("locks", 6, function() return d:locks() end)
    timed("leader", 6, function() return d:leader "x":leader() end)
  end)
  assert.is_false(d:lock "x":held())
  d:close()
  return said
end

describe("an agent that", function()
  it("is not there is unavailable, and the message names it", in_time(function(within)
    local port = rig.ports(1)[1]
    local said = all_calls_fail(within, "consul://127.0.0.1:" .. port, GONE)
    assert.truthy(said:find("127.0.0.1:" .. port, 1, true), said)
  end))

  local modes = { html = { protocol = true }, empty = { protocol = true, unavailable = true, timeout = true },
    other_json = { protocol = true, unavailable = true }, not_found = { config = true, protocol = true },
    redirect = { config = true }, bad_gateway = GONE, truncated = GONE, silent = GONE, hang_up = GONE,
    garbage = { protocol = true, unavailable = true, timeout = true } }
  local names = {}
  for mode in pairs(modes) do names[#names + 1] = mode end
  table.sort(names)
  for _, mode in ipairs(names) do
    it(("answers with %s is told apart from a Consul"):format(mode), in_time(function(within)
      local server = rig.start({ "python3", here .. "/support/suite_dumb.py", mode })
      local port = assert(server:line(suite.patience)):match "^port (%d+)$"
      all_calls_fail(within, "consul://127.0.0.1:" .. port, modes[mode])
      server:stop()
    end))
  end
end)

describe("a ttl", function()
  it("out of Consul's range is refused at once, with the range", function()
    for _, ttl in ipairs { 1, 9.9, 86401 } do
      local message = fails("config", dsync.open("consul://127.0.0.1:1", { ttl = ttl }))
      assert.truthy(message:find("10", 1, true) and message:find("86400", 1, true), message)
    end
    assert(dsync.open("consul://127.0.0.1:1", { ttl = 10, close_timeout = 0.1 })):close()
  end)
end)

describe("one agent", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)

  it("of another datacenter says that there is no way to it", in_time(function(within)
    local said = all_calls_fail(within, bench.server.url, { config = true }, { consul = { datacenter = "atlantis" } })
    assert.truthy(said:find("datacenter", 1, true), said)
  end))

  it("that is stopped leaves its holder until the deadline, not longer", in_time(function(within)
    dsync.run(function()
      local d = suite.open { ttl = 10 }
      local lock, told_at = ok(d:lock "x":acquire()), nil
      lock:on_revoked(function() told_at = suite.now() end)
      suite.pause(0.5)
      local silent_at = suite.now()
      bench.server:pause()
      assert.equal("expired", lock:revoked(suite.patience))
      suite.eventually("the callback", function() return told_at end)
      bench.server:resume()
      within(10, told_at - silent_at, "the notice")
      assert.is_false(lock:held())
      assert.equal("lost", (select(3, lock:release())))
      local fresh = ok(suite.open():lock "x":acquire { wait = suite.patience })
      assert.is_true(fresh:token() > lock:token())
    end)
  end))
end)

describe("with access control", function()
  local bench = tools.bench { acl = true }
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)

  local function open(token, options)
    options = options or {}
    options.prefix, options.auth = options.prefix or suite.prefix(), token and { token = token } or nil
    return assert(dsync.open(bench.server.url, options))
  end

  it("a token that may is let in", function()
    local d = suite.open()
    ok(d:ping(suite.patience))
    local lock = ok(d:lock "x":acquire())
    ok(lock:put("k", "v"))
    assert.equal("v", (d:get "k"))
    assert.equal(1, #ok(d:locks()))
    assert.is_true(lock:release())
  end)

  it("an unknown token and none at all are denied, and the token is not told", function()
    for _, token in ipairs { "0bad0bad-0000-0000-0000-000000000000", false } do
      local d = open(token)
      local began = suite.now()
      local message = fails("denied", d:lock "x":acquire { wait = suite.patience })
      assert.is_true(suite.now() - began < suite.patience)
      assert.is_nil(message:find("0bad0bad", 1, true), message)
      assert.truthy(message:find "ACL not found" or message:find "Permission denied", message)
      fails("denied", d:leader "x":elect { wait = 10 })
      d:close()
    end
  end)

  it("a prefix without permission is denied", function()
    local d = open(bench.server.token, { prefix = "forbidden" })
    local message = fails("denied", d:lock "x":acquire { wait = 10 })
    assert.truthy(message:find("key:write", 1, true), message)
    d:close()
  end)

  it("a token that comes from a file is read again when it is refused", function()
    local file = rig.tempdir() .. "/token"
    rig.write(file, "0bad0bad-0000-0000-0000-000000000000\n")
    assert(rig.run { "chmod", "600", file } == 0)
    local d = assert(dsync.open(bench.server.url, { prefix = suite.prefix(), auth = { token_file = file } }))
    fails("denied", d:lock "x":acquire { wait = 10 })
    rig.write(file, bench.server.token .. "\n")
    ok(d:lock "x":acquire { wait = suite.patience })
    d:close()
  end)
end)

describe("three agents", function()
  local bench = tools.bench { nodes = 3 }
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)

  it("of which too few are left say so, and go on when they are back", in_time(function(within)
    local leader = assert(bench.server:leader())
    local followers = {}
    for i = 1, 3 do if i ~= leader then followers[#followers + 1] = i end end
    local d = assert(dsync.open("consul://" .. bench.server.nodes[followers[1]].endpoint, { prefix = suite.prefix() }))
    local lock = ok(d:lock "x":acquire())
    bench.server:kill("KILL", leader)
    bench.server:kill("KILL", followers[2])
    local value, message, code = suite.open { ttl = 10 }:lock "y":acquire { wait = 3 }
    assert.is_nil(value)
    assert.truthy(GONE[code], tostring(code) .. ": " .. tostring(message))
    local began = suite.now()
    lock:revoked(suite.patience)
    within(15, suite.now() - began, "the notice")
    assert.is_false(lock:held())
    bench.server:restart(leader, { wait = false })
    bench.server:restart(followers[2])
    ok(d:lock "x":acquire { wait = suite.patience })
    d:close()
  end))
end)
