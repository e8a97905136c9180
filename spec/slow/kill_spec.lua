-- A holder is killed: whoever waits holds within the granted ttl and a second.
local suite = require "spec.support.suite"
local in_time = require "spec.support.in_time"
local tools = require "spec.support.suite_etcd"
local child = require "spec.support.suite_child"
local ok = suite.ok

local HOLDER = [[
  local dsync = require "dsync"
  local d = assert(dsync.open(arg[1], { prefix = arg[2], ttl = tonumber(arg[3]) }))
  local lock = assert(d:lock("x"):acquire())
  print("held " .. lock:token_string())
  while true do dsync.sleep(1) end
]]

describe("kill -9 of a holder", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)

  for _, ttl in ipairs { 2, 5 } do
    it(("with a ttl of %d s lets a waiter in within %d s"):format(ttl, ttl + 1), in_time(function(within)
      local d = suite.open()
      local holder = child.start(HOLDER, nil, bench.server.url, suite.prefix(), ttl)
      local line, why, said = holder:expect("^held", suite.patience)
      assert.is_string(line, tostring(why) .. tostring(said))
      suite.fails("timeout", d:lock "x":acquire { wait = ttl + 0.5 })
      local token = tonumber(line:match "%d+")
      holder:signal "KILL"
      local began = suite.now()
      local lock = ok(d:lock "x":acquire { wait = suite.patience })
      local took = suite.now() - began
      within(ttl + 1, took, "the waiter's turn")
      assert.is_true(lock:token() > token)
      holder:stop()
      -- and the dead one's session key goes with its lease
      ok(lock:release())
      d:close()
      suite.eventually("an empty store", function() return #bench.keys(suite.prefix() .. "/") == 0 end)
    end))
  end
end)
