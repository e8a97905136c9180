-- scenarios.lua: what a Lua program may do, each written so that it goes on whatever fails. Each returns true when all
-- of it went as it does when nothing fails; an error for want of memory ends it. Run by lua_host.c, which gives `said`
-- and `wrong`.
-- luacheck: read_globals said wrong

package.path = "lua/?.lua;lua/?/init.lua;" .. package.path
local dsync = require "dsync"

local said, wrong = said, wrong

local scenarios = {}

-- The results of a call, as they came; its code is remembered.
local function tell(value, message, code, ...)
  if value == nil then
    said(code, message)
  else
    said "ok"
  end
  return value, message, code, ...
end

local function open(url, prefix)
  return tell(dsync.open(url, { ttl = 3, prefix = prefix, close_timeout = 1 }))
end

local function close(client)
  local ok, message, code = client:close()
  tell(ok, message, code)
  return ok
end

local function exclude(one, other)
  if one:held() and other:held() then
    wrong "two believe to hold one lock"
  end
end

function scenarios.acquire(url, prefix)
  local client = open(url, prefix)
  if not client then return false end
  local lock = tell(client:lock "q")
  local held = lock and tell(lock:acquire { wait = 1 })
  if held and lock:token() <= 0 then wrong "held without a token" end
  if held and tostring(lock) == "" then wrong "a lock that says nothing" end
  local ok = held and tell(lock:release())
  if lock and lock:held() then wrong "held after its release" end
  return close(client) and ok
end

function scenarios.with_lock(url, prefix)
  local client = open(url, prefix)
  if not client then return false end
  local result = tell(client:with_lock("q", { wait = 1, value = { a = { 1, 2 } } }, function(lock)
    return lock:held() and "done"
  end))
  local again = tell(client:acquire("q", { wait = 1 }))
  if again then tell(client:release "q") end
  return close(client) and result == "done"
end

function scenarios.guard(url, prefix)
  local client = open(url, prefix)
  if not client then return false end
  local lock = tell(client:lock "q")
  local sum
  if lock and tell(lock:acquire { wait = 1 }) then
    sum = tell(lock:guard(function()
      local n = 0
      for i = 1, 1000 do n = n + i end
      return n
    end))
    tell(lock:release())
  end
  return close(client) and sum == 500500
end

function scenarios.keep(url, prefix)
  local client = open(url, prefix)
  if not client then return false end
  local lock = tell(client:lock "q")
  local seen, over, ok = 0, not lock, false
  local canceller = dsync.canceller() -- it would try for ever
  dsync.run(function()
    dsync.spawn(function()
      ok = lock and tell(lock:keep {
        retry_interval = 0.02,
        cancel = canceller,
        on_acquired = function(_, run)
          seen = seen + 1
          run:stop()
        end,
      })
      over = true
    end)
    for _ = 1, 40 do
      if over then return end
      dsync.sleep(0.01)
    end
    canceller:cancel()
  end)
  return close(client) and ok and seen == 1
end

function scenarios.elections(url, prefix)
  local client = open(url, prefix)
  if not client then return false end
  local one, two = tell(client:leader("e", { id = "one" })), tell(client:leader("e", { id = "two" }))
  local elected = one and tell(one:elect { wait = 1, value = "v" })
  local other
  if elected and two then
    tell(elected:proclaim { a = 1 })
    tell(two:leader())
    other = tell(two:elect { wait = 0 })
    if other then exclude(elected, other) end
  end
  local ok = elected and tell(elected:resign())
  return close(client) and ok and not other
end

function scenarios.watch(url, prefix)
  local client = open(url, prefix)
  if not client then return false end
  local watcher = tell(client:watch { name = "e" })
  local leader = tell(client:leader "e")
  local elected = leader and tell(leader:elect { wait = 1 })
  local heard = false
  for _ = 1, watcher and elected and 5 or 0 do
    local event = tell(watcher:next { timeout = 1 })
    if not event or event.type == "elected" then
      heard = event ~= nil
      break
    end
  end
  if watcher then watcher:close() end
  if elected then tell(elected:resign()) end
  return close(client) and heard
end

function scenarios.listings(url, prefix)
  local client = open(url, prefix)
  if not client then return false end
  local lock, leader = tell(client:lock("q", { value = "v" })), tell(client:leader "e")
  local held = lock and tell(lock:acquire { wait = 1 })
  local elected = leader and tell(leader:elect { wait = 1 })
  local locks, members, holder = tell(client:locks()), tell(client:members()), lock and tell(lock:holder())
  local options, stats = tell(client:options()), tell(client:stats())
  if elected then tell(elected:resign()) end
  if held then tell(lock:release()) end
  return close(client) and held and elected and locks and #locks == 1 and members and #members == 1 and holder and
    options and stats and true
end

function scenarios.writes(url, prefix)
  local client = open(url, prefix)
  if not client then return false end
  local lock = tell(client:lock "q")
  local value
  if lock and tell(lock:acquire { wait = 1 }) then
    tell(lock:put("k", ("x"):rep(2000)))
    value = tell(client:get "k")
    tell(lock:delete "k")
    tell(lock:release())
  end
  return close(client) and value and #value == 2000
end

function scenarios.coroutines(url, prefix)
  local client = open(url, prefix)
  if not client then return false end
  local got = 0
  local locks = {}
  for i = 1, 3 do locks[i] = tell(client:lock "q") end
  dsync.run(function()
    for i = 1, 3 do
      dsync.spawn(function()
        if locks[i] and tell(locks[i]:acquire { wait = 2 }) then
          got = got + 1
          for k = 1, 3 do
            if k ~= i and locks[k] then exclude(locks[i], locks[k]) end
          end
          dsync.sleep(0.001)
          tell(locks[i]:release())
        end
      end)
    end
  end)
  return close(client) and got == 3
end

function scenarios.callbacks(url, prefix)
  local client = open(url, prefix)
  if not client then return false end
  local lock = tell(client:lock "q")
  local told = 0
  if lock and tell(lock:acquire { wait = 1, hold = 0.01 }) then
    lock:on_revoked(function() told = told + 1 end)
    lock:revoked { timeout = 2 }
    for _ = 1, 20 do
      if told > 0 then break end
      client:dispatch(0.01)
    end
    if lock:held() then wrong "held beyond its own limit" end
  end
  if told > 1 then wrong "told twice" end
  return close(client) and told == 1
end

function scenarios.refusals(url, prefix)
  for _, bad in ipairs { "ectd://h", "etcd://u:p@h", "etcd://h:99999" } do
    if tell(dsync.open(bad)) then wrong(bad .. " was taken") end
  end
  local client = open(url, prefix)
  if not client then return false end
  local ok, lock = pcall(client.lock, client, "q", { vlaue = 1 })
  if ok and lock then wrong "a misspelt option was taken" end
  ok, lock = pcall(client.lock, client, "")
  if ok and lock then wrong "a lock without a name" end
  return close(client)
end

function scenarios.cancel(url, prefix)
  local client, other = open(url, prefix), open(url, prefix)
  local lock, wanted = client and tell(client:lock "q"), other and tell(other:lock "q")
  local held, got = lock and tell(lock:acquire { wait = 1 })
  if held and wanted then
    local canceller = dsync.canceller()
    dsync.run(function()
      dsync.spawn(function() got = tell(wanted:acquire { wait = 5, cancel = canceller }) end)
      dsync.sleep(0.005)
      canceller:cancel()
    end)
    if got then exclude(lock, wanted) end
    tell(lock:release())
  end
  local closed = not client or close(client)
  closed = (not other or close(other)) and closed
  return closed and held and wanted and not got
end

return scenarios
