-- dsync locks, members, leader, watch, status, break: tables for people, JSON lines for programs.
local command = require "spec.support.command"
local json = require "dsync.json"
local rig = require "spec.support.rig"
local suite = require "spec.support.suite"
local ok = suite.ok

before_each(command.fresh)
after_each(suite.cleanup)

local function lines_of(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

local function records_of(list)
  local code, out, err = command.run(list)
  assert.equal(0, code, err)
  local records = {}
  for i, line in ipairs(lines_of(out)) do records[i] = assert(json.decode(line), line) end
  return records, lines_of(out)
end

local RFC3339 = "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$"

describe("dsync locks", function()
  local d, alpha
  before_each(function()
    d = command.client { id = "node-1" }
    alpha = ok(d:lock("alpha", { value = { job = "a b", digits = "1" } }):acquire())
    ok(d:lock("alphabet", { value = "two\27[31m\nlines" }):acquire())
  end)

  it("says when its results could not be written, and not when nobody reads them", function()
    for _, options in ipairs { "", "--json" } do
      local code, out = command.sh("$dsync locks " .. options .. " 2>&1 >/dev/full")
      assert.equal(74, code)
      assert.matches("could not be written: No space left", out)
      local line = "trap '' PIPE; { sleep 0.2; $dsync locks " .. options .. "; } | true; echo ${PIPESTATUS[0]}"
      code, out = command.sh(line)
      assert.equal(0, code)
      assert.equal("0", out:match "%d+")
    end
  end)

  it("prints aligned columns, with ages, and nothing that drives a terminal", function()
    local code, out = command.run { "locks" }
    assert.equal(0, code)
    local lines = lines_of(out)
    assert.equal(3, #lines)
    local column = lines[1]:find "HOLDER"
    assert.truthy(lines[1]:find "^NAME +HOLDER +TOKEN +FOR +WAITING +VALUE$")
    for i = 2, 3 do assert.equal("node-1", lines[i]:sub(column, column + 5)) end
    assert.truthy(lines[2]:find("^alpha +node%-1 +" .. alpha:token_string() .. " +%d+m?s +0 +{"), lines[2])
    assert.truthy(lines[3]:find("two\\x1b[31m\\x0alines", 1, true), lines[3])
  end)

  it("prints stable JSON lines", function()
    local records, lines = records_of { "locks", "--json" }
    assert.equal(2, #records)
    local start = '^{"name":"alpha","key":"[^"]+/lock/alpha","holder":{"id":"node%-1","token":%d+,"since"'
    assert.truthy(lines[1]:find(start), lines[1])
    assert.same({ job = "a b", digits = "1" }, records[1].holder.value)
    assert.truthy(records[1].holder.since:find(RFC3339))
    assert.equal("two\27[31m\nlines", records[2].holder.value)
    assert.truthy(lines[1]:find('"waiters":[]', 1, true))
  end)

  it("takes the beginning of the names", function()
    assert.equal("alphabet", records_of({ "locks", "--json", "alphab" })[1].name)
    assert.equal(0, #records_of { "locks", "--json", "omega" })
  end)

  it("shows who waits", function()
    local waiter = command.start { "run", "--id", "node-2", "alpha", "true" }
    suite.until_waiting(d, "alpha", 1)
    local record = records_of({ "locks", "--json", "alpha" })[1]
    assert.equal("node-2", record.waiters[1].id)
    local code, out = command.run { "status", "alpha" }
    assert.equal(0, code)
    assert.truthy(out:find("alpha is held by node-1, token " .. alpha:token_string(), 1, true), out)
    assert.truthy(out:find("; 1 waiting", 1, true), out)
    waiter:signal "TERM"
    assert.equal(143, waiter:wait(command.patience))
  end)
end)

describe("dsync status and dsync break", function()
  it("tell what is free and what is held", function()
    local d = command.client { id = "node-1" }
    local code, out = command.run { "status", "name" }
    assert.same({ 1, "name is free\n" }, { code, out })
    local lock = ok(d:lock("name"):acquire())
    assert.same({ 0, "", "" }, { command.run { "status", "-q", "name" } })
    local record = records_of({ "status", "--json", "name" })[1]
    assert.same({ "name", true, "node-1" }, { record.name, record.held, record.holder.id })
    assert.equal(1, (command.run { "status", "--json", "free" }))
    assert.equal(0, (command.run { "status", "--key", lock:key(), "x" }))
  end)

  it("break what has this token, and nothing else", function()
    local d = command.client()
    local lock = ok(d:lock("name"):acquire())
    assert.equal(64, (command.run { "break", "name" }))
    assert.equal(64, (command.run { "break", "name", "--token", "1x" }))
    local great, _, problem = command.run { "break", "name", "--token", ("9"):rep(20) }
    assert.equal(64, great, problem)
    local code, out = command.run { "break", "name", "--json", "--token", tostring(lock:token() - 1) }
    assert.equal(1, code)
    assert.is_false(json.decode(out).broken)
    assert.is_true(lock:held())
    assert.equal(0, (command.run { "break", "name", "--token", lock:token_string() }))
    assert.equal("broken", lock:revoked(suite.patience))
  end)
end)

describe("dsync leader and dsync members", function()
  it("show an election", function()
    local d = command.client { id = "node-1" }
    ok(d:leader("role", { value = "v1" }):elect())
    local process = command.start { "elect", "--id", "node-2", "role" }
    suite.eventually("a candidate", function() return #ok(d:leader("role"):members()) == 2 end)

    local code, out = command.run { "leader", "role" }
    assert.equal(0, code)
    assert.truthy(out:find "^ID +TOKEN +FOR +VALUE\nnode%-1 +%d+ +%d+m?s +v1\n$", out)
    local leader = records_of({ "leader", "--json", "role" })[1]
    assert.same({ "role", "default", "node-1", "v1" }, { leader.name, leader.namespace, leader.id, leader.value })

    local members = records_of { "members", "--json" }
    assert.same({ "leader", "candidate" }, { members[1].role, members[2].role })
    assert.equal("node-2", members[2].id)
    assert.truthy(members[2].since:find(RFC3339))
    assert.equal(2, #records_of { "members", "--json", "role" })
    code, out = command.run { "members" }
    assert.equal(0, code)
    assert.truthy(out:find("\nrole +candidate +node%-2 "), out)

    assert.equal(0, #records_of { "members", "--json", "--namespace", "other" })
    assert.equal(1, (command.run { "leader", "nobody" }))
    process:signal "TERM"
    assert.equal(143, process:wait(command.patience))
  end)
end)

describe("dsync watch", function()
  it("prints what is and what comes", function()
    local d = command.client { id = "node-1" }
    local watch = command.start { "watch", "--json", "-n", "4", "role" }
    assert.truthy(watch:expect('"type":"vacant","name":"role","namespace":"default"', command.patience))
    local elected = ok(d:leader("role", { value = "hello" }):elect())
    local line = assert(watch:expect('"type":"elected"', command.patience))
    local event = json.decode(line)
    assert.same({ "node-1", "hello", "role" }, { event.id, event.value, event.name })
    assert.truthy(event.time:find(RFC3339))
    ok(elected:resign())
    assert.truthy(watch:expect('"type":', command.patience))
    assert.equal(0, watch:wait(command.patience))
  end)

  it("prints aligned columns for people", function()
    local d = command.client { id = "node-1" }
    ok(d:leader("role"):elect())
    local code, out = command.run { "watch", "-n", "2", "role" }
    assert.equal(0, code)
    local lines = lines_of(out)
    assert.truthy(lines[1]:find "^AFTER +CHANGE +NAME +ID +TOKEN +VALUE$")
    assert.truthy(lines[2]:find "^%d+m?s +joined +role +node%-1 +%d+$", lines[2])
    assert.truthy(lines[3]:find "^%d+m?s +elected +role +node%-1 +%d+$", lines[3])
    assert.equal(lines[1]:find "NAME", lines[2]:find "role")
  end)

  it("has room for the tokens of every store", function()
    local d = command.client { id = "node-1" }
    ok(d:leader("role", { value = "mine" }):elect())
    local code, out = command.run { "watch", "-n", "1", "role" }
    assert.equal(0, code)
    local lines = lines_of(out)
    assert.equal(lines[1]:find "VALUE", lines[2]:find "mine", out)
  end)
end)

describe("what the command prints", function()
  it("is cut to the width of a terminal, and only there", function()
    local d = command.client { id = "node-1" }
    ok(d:lock("name", { value = ("long "):rep(60) }):acquire())
    local _, out = command.run { "locks" }
    assert.truthy(#lines_of(out)[2] > 300)
    local _, shown = command.sh("stty cols 60 2>/dev/null; script -qec 'stty cols 60; " .. command.words()
      .. " locks' /dev/null </dev/null")
    local row = shown:match "\n(name [^\r\n]*)"
    assert.equal(60, #row, shown)
    assert.equal("...", row:sub(-3))
  end)

  it("never holds a secret", function()
    local secret = "s3cr3t-" .. suite.random_hex(6)
    local file = rig.tempdir() .. "/token"
    rig.write(file, secret .. "\n")
    for _, list in ipairs { { "run", "name", "true" }, { "locks" }, { "doctor" }, { "status", "name" } } do
      for _, env in ipairs { { DSYNC_USER = "me", DSYNC_PASSWORD = secret }, { DSYNC_AUTH_TOKEN = secret } } do
        local _, out, err = command.run(list, { env = env })
        assert.is_nil((out .. err):find(secret, 1, true))
      end
      local _, out, err = command.run({ list[1], "--token-file", file, list[2], list[3] })
      assert.is_nil((out .. err):find(secret, 1, true))
    end
    local code, out, err = command.run { "locks", "-o", "auth.password=" .. secret }
    assert.equal(64, code)
    assert.is_nil((out .. err):find(secret, 1, true))
  end)
end)
