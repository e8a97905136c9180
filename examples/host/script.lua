-- script.lua: what host.c runs in each of its threads: three coroutines take turns under one lock.

local here = arg and arg[0] or "examples/host/script.lua"
package.path = here:gsub("[^/]*$", "") .. "?.lua;examples/host/?.lua;lua/?.lua;" .. package.path

local adapter = require "adapter"
local dsync = require "dsync"

local who = "thread " .. host.thread -- luacheck: globals host
local running = 3

local client = assert(dsync.open(nil, { runtime = adapter, ttl = 5, close_timeout = 1 }))

local function work(number)
  local lock = client:lock "example-host"
  for turn = 1, 2 do
    assert(lock:acquire { wait = 20 })
    print(("%s, coroutine %d, turn %d: token %s"):format(who, number, turn, lock:token_string()))
    assert(lock:guard(function()
      return lock:held()
    end))
    assert(lock:release())
  end
  running = running - 1
  if running == 0 then
    assert(client:close())
    print(who .. " is done")
  end
end

for number = 1, 3 do
  adapter.spawn(work, number)
end
