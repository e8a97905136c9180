-- Servers that cannot be reached, or that are no etcd: a clear message, a stable code, an answer in time, nothing held.
local suite = require "spec.support.suite"
local in_time = require "spec.support.in_time"
local rig = require "spec.support.rig"
local dsync, fails = suite.dsync, suite.fails

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*/[^/]*$"

-- What a call may say: how a server fails decides whether asking on makes sense, and only then the wait is used up.
local GONE = { unavailable = true, timeout = true }

local function all_calls_fail(within, address, codes)
  local d = assert(dsync.open(address, { close_timeout = 1 }))
  local lock, leader = d:lock "x", d:leader "x"
  local messages = {}
  local function check(what, value, message, code)
    assert.is_nil(value, what)
    assert.truthy(codes[code], ("%s: %s: %s"):format(what, tostring(code), tostring(message)))
    assert.is_true(#message > 10, message)
    messages[what] = message
  end
  local function timed(what, limit, fn)
    dsync.spawn(function()
      local began = suite.now()
      check(what, fn())
      within(limit + 2, suite.now() - began, what)
    end)
  end
  -- All at once: each may use up its time.
  dsync.run(function()
    timed("ping", 1, function() return d:ping(1) end)
    timed("acquire", 1, function() return lock:acquire { wait = 1 } end)
    timed("elect", 1, function() return leader:elect { wait = 1 } end)
    timed("try", 6, function() return d:lock "y":try() end)
    timed("get", 6, function() return d:get "k" end)
    timed("locks", 6, function() return d:locks() end)
    timed("members", 6, function() return d:members() end)
    timed("leader", 6, function() return leader:leader() end)
    timed("holder", 6, function() return lock:holder() end)
  end)
  assert.is_false(lock:held())
  assert.equal("follower", leader:status())
  fails("not_held", lock:release())
  local began = suite.now()
  d:close()
  within(1.5, suite.now() - began, "close")
  return messages
end

describe("a server that", function()
  it("is not there is unavailable, and the message names it", in_time(function(within)
    local port = rig.ports(1)[1]
    local messages = all_calls_fail(within, "etcd://127.0.0.1:" .. port, GONE)
    assert.truthy(messages.ping:find("127.0.0.1:" .. port, 1, true), messages.ping)
  end))

  it("has no address is unavailable", in_time(function(within)
    all_calls_fail(within, "etcd://nowhere.invalid:2379", GONE)
  end))

  local modes = {
    html = { protocol = true },
    half = { protocol = true, unavailable = true, timeout = true },
    empty = { protocol = true, unavailable = true, timeout = true },
    other_json = { protocol = true },
    not_found = { config = true, protocol = true },
    redirect = { config = true },
    bad_gateway = GONE,
    truncated = GONE,
    garbage = { protocol = true, unavailable = true, timeout = true },
    huge = { protocol = true, unavailable = true, timeout = true },
    headers = { protocol = true, unavailable = true, timeout = true },
    deep = { protocol = true, unavailable = true, timeout = true },
    silent = GONE,
    hang_up = GONE,
    -- These speak HTTP/2.
    h2_html = { protocol = true },
    h2_not_found = { config = true },
    h2_redirect = { config = true },
    h2_no_status = { protocol = true },
    h2_compressed = { protocol = true },
    h2_half_message = { protocol = true },
    h2_other_message = { protocol = true },
    h2_unimplemented = { unsupported = true },
    h2_unavailable = GONE,
    h2_half_frame = GONE,
    h2_garbage = { protocol = true, unavailable = true, timeout = true },
    h2_reset = GONE,
    h2_goaway = GONE,
    h2_silent = GONE,
  }
  local names = {}
  for mode in pairs(modes) do names[#names + 1] = mode end
  table.sort(names)
  for _, mode in ipairs(names) do
    it(("answers with %s is told apart from an etcd"):format(mode), in_time(function(within)
      local server = rig.start({ "python3", here .. "/support/suite_dumb.py", mode })
      local port = assert(server:line(suite.patience)):match "^port (%d+)$"
      local messages = all_calls_fail(within, "etcd://127.0.0.1:" .. port, modes[mode])
      assert.truthy(messages.ping:find("127.0.0.1:" .. port, 1, true), messages.ping)
      server:stop()
    end))
  end
end)
