-- What every conformance spec needs: clients on the backend under test, fresh names, and waiting without guessing.
--
-- The backend comes from the environment, so that the same files run everywhere:
--   DSYNC_TEST_URL      "memory:" (default), "etcd://127.0.0.1:2379", ...
--   DSYNC_TEST_OPTIONS  a Lua file that returns a table of further options for dsync.open (tls, auth, ...)
-- Every test works under a prefix of its own, so many runs may share one server. Nothing here measures speed: a wait
-- has a generous limit that only a hanging program reaches.

local assert = require "luassert"
local dsync = require "dsync"
local system = require "system"

local suite = { dsync = dsync, patience = 60 }

local function random_hex(bytes)
  local file = assert(io.open("/dev/urandom", "rb"))
  local data = file:read(bytes)
  file:close()
  return (data:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

suite.random_hex = random_hex
suite.now = system.monotime

-- The shortest ttl worth using in a test that waits for one to pass, where it is not 2 s.
local SHORTEST = { consul = 10 }

local extra, url

-- Works on another server, or (without arguments) on the one the environment names.
function suite.use(to, options)
  url, extra = to or os.getenv "DSYNC_TEST_URL" or "", options or {}
  local file = not to and os.getenv "DSYNC_TEST_OPTIONS" or ""
  suite.options_file = file ~= "" and file or nil
  if suite.options_file then extra = assert(loadfile(file))() end
  -- A memory store is shared by everybody in the process who opens its name.
  if url == "" or url == "memory:" then url = "memory:suite-" .. random_hex(4) end
  suite.url = url
  local scheme = url:match "^%a+"
  suite.backend = ({ etcds = "etcd", consuls = "consul" })[scheme] or scheme
  suite.short_ttl = SHORTEST[suite.backend] or 2
end

suite.use()

local prefix, opened, results = nil, {}, {}

-- A name nobody else uses.
function suite.name(stem)
  return (stem or "name") .. "-" .. random_hex(6)
end

-- The key prefix of the present test.
function suite.prefix()
  prefix = prefix or "spec/" .. random_hex(8)
  return prefix
end

local function merged(options)
  local all = { prefix = suite.prefix() }
  for k, v in pairs(extra) do all[k] = v end
  for k, v in pairs(options or {}) do all[k] = v end
  return all
end

-- A client on the backend under test; cleanup() closes it. All clients of one test see each other.
function suite.open(options)
  local client = assert(dsync.open(suite.url, merged(options)))
  opened[#opened + 1] = client
  return client
end

-- The same, but cleanup() does not know it: for tests about garbage.
function suite.open_loose(options)
  return assert(dsync.open(suite.url, merged(options)))
end

-- For tests about opening itself: what dsync.open says.
function suite.try_open(options, where)
  local client, message, code = dsync.open(where or suite.url, merged(options))
  if client then opened[#opened + 1] = client end
  return client, message, code
end

-- For after_each: closes the clients of the test and forgets its prefix.
function suite.cleanup()
  local clients = opened
  opened, results, prefix = {}, {}, nil
  for i = #clients, 1, -1 do clients[i]:close() end
end

-- Checks the three results of a call that must not succeed.
function suite.fails(code, value, message, got)
  assert.is_nil(value, "expected code " .. code .. ", got a result: " .. tostring(value))
  assert.equal(code, got, tostring(message))
  assert.is_string(message)
  assert.is_true(#message > 0)
  return message
end

-- Checks a call that must succeed and returns its results. What it returned lives until cleanup(): a lock that nobody
-- refers to is collected, and with that released.
function suite.ok(value, message, code)
  if value == nil or value == false then
    error(("expected success, got %s: %s"):format(tostring(code), tostring(message)), 2)
  end
  if type(value) == "table" then results[#results + 1] = value end
  return value, message, code
end

-- A programming error: raised, and naming what is wrong.
function suite.raises(pattern, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "expected an error that matches " .. pattern)
  err = tostring(err)
  assert.truthy(err:find(pattern), ("error %q does not match %q"):format(err, pattern))
  return err
end

-- Lets callbacks and other coroutines run for a while.
function suite.pause(seconds)
  dsync.sleep(seconds or 0.01)
end

-- Waits until fn() is true and returns what it said.
function suite.eventually(what, fn)
  local limit = suite.now() + suite.patience
  while true do
    local value = fn()
    if value then return value end
    if suite.now() > limit then error("did not happen in time: " .. what, 2) end
    suite.pause(0.01)
  end
end

-- Starts fn in a coroutine of its own (inside dsync.run); the task tells when it is over and what it returned.
function suite.spawn(fn, ...)
  local task = { done = false }
  dsync.spawn(function(...)
    task.results = { fn(...) }
    task.done = true
  end, ...)
  return task
end

-- Waits for the task and returns its results.
function suite.join(task)
  suite.eventually("end of a coroutine", function() return task.done end)
  return (table.unpack or unpack)(task.results, 1, 4) -- luacheck: globals unpack
end

-- Waits until `count` entries wait behind the holder of the lock (asked of the server, not of the client).
function suite.until_waiting(client, name, count)
  suite.eventually(count .. " waiters of " .. name, function()
    return #suite.ok(client:lock(name):waiters()) == count
  end)
end

return suite
