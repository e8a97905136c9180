-- guard.lua [ROUNDS]: how soon lock:guard stops a busy function, and what it costs while the lock is held.
--
--   lua5.4 spec/support/with_server.lua etcd-3.5 lua5.4 bench/guard.lua       a lease is revoked on the server
--   lua5.4 bench/guard.lua                                                    memory: the time of a hold is over
--
-- Counts from the moment of the revocation (or of the end) to the moment when guard has returned. LuaJIT stops at calls
-- that it does not compile: its loops make such calls.

package.path = "./?.lua;" .. package.path
local busy = require "spec.support.busy"
local core = require "dsync.core"
local dsync = require "dsync"

local rounds = tonumber(arg[1] or 20)
local http = os.getenv "DSYNC_TEST_HTTP"
local url = os.getenv "DSYNC_TEST_URL" or "memory:guard"
local client

-- Revokes every lease, a moment from now, and writes down when.
local REVOKER = [[
local core, socket = require "dsync.core", require "socket"
local host, port = (...):match "^http://(.-):(%d+)"
local function post(path, body)
  local connection = assert(socket.connect(host, port))
  local request = ("POST %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s"):format(path, #body, body)
  assert(connection:send(request))
  return connection:receive "*a"
end
socket.sleep(0.1)
local leases = post("/v3/lease/leases", "{}")
print(core.now())
for id in leases:gmatch '"ID":"(%d+)"' do post("/v3/lease/revoke", '{"ID":"' .. id .. '"}') end
]]

-- A held lock, and a function that tells when it was taken away.
local function by_server()
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(REVOKER)
  file:close()
  client = assert(dsync.open(url))
  local lock = assert(client:lock "guard":acquire())
  local revoker = io.popen(arg[-1] .. " " .. name .. " " .. http)
  return lock, function()
    local at = revoker:read "*n"
    revoker:close()
    os.remove(name)
    return at
  end
end

local function by_clock()
  client = client or assert(dsync.open(url))
  local lock = assert(client:lock "guard":acquire { hold = 0.05 })
  local at = core.now() + lock:valid_for()
  return lock, function() return at end
end

local function stops(what, fn)
  local times = {}
  for i = 1, rounds do
    local lock, at = (http and by_server or by_clock)()
    busy.lost(lock:guard(fn))
    local stopped = core.now()
    times[i] = (stopped - at()) * 1e3
    if http then client:close() end
  end
  table.sort(times)
  print(("%s, %s, %s: median %.2f ms, longest %.2f ms of %d"):format(jit and jit.version or _VERSION,
    url:match "^%a+", what, busy.median(times), times[#times], rounds))
end

stops("while true do end", busy.for_ever)
stops("while true do pcall(...) end", busy.stubborn)

local function work(n)
  local x = 0
  for i = 1, n do x = x + i % 7 end
  return x
end

local function timed(n, call, ...)
  local began = os.clock()
  call(...)
  return (os.clock() - began) / n
end

client = assert(dsync.open(url))
local lock = assert(client:lock "cost":acquire())
local n, ratios = 1e6, {}
while timed(1, work, n) < 0.1 do n = n * 2 end
for i = 1, 21 do
  local bare = timed(n, work, n)
  local guarded = timed(n, lock.guard, lock, work, n)
  ratios[i] = guarded / bare
end
table.sort(ratios)
print(("%s: a tight loop under guard takes %.3f of its time without (%.3f to %.3f)"):format(jit and jit.version
  or _VERSION, ratios[11], ratios[6], ratios[16]))
lock:release()
client:close()
