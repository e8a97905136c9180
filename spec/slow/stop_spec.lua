-- A holder that was stopped past its ttl must not believe, not even once, that it still holds.
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_etcd"
local child = require "spec.support.suite_child"
local ok = suite.ok

local HOLDER = [[
  local dsync = require "dsync"
  local now = require "system".gettime
  local d = assert(dsync.open(arg[1], { prefix = arg[2], ttl = 2 }))
  local lock = assert(d:lock("x"):acquire())
  local calls = 0
  lock:on_revoked(function(_, reason)
    calls = calls + 1
    print("revoked " .. reason)
  end)
  print("held " .. lock:token_string())
  local last = now()
  while true do -- no call that could deliver anything: only held() itself is asked
    local at = now()
    local gap = at - last > 1.5
    last = at
    if gap then break end
  end
  print("first " .. tostring(lock:held()) .. " " .. tostring(lock:valid_for()))
  dsync.sleep(1)
  d:dispatch(0)
  print("calls " .. calls)
  print("release " .. tostring(select(3, lock:release())))
]]

describe("SIGSTOP of a holder past its ttl", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)

  it("is answered by false at the first question, one callback, and a higher token elsewhere", function()
    local d = suite.open { ttl = 2 }
    local holder = child.start(HOLDER, nil, bench.server.url, suite.prefix())
    local function said(pattern)
      local line, why, skipped = holder:expect(pattern, suite.patience)
      assert.is_string(line, ("%s: %s %s"):format(pattern, tostring(why), tostring(skipped)))
      return line:match(pattern)
    end
    local token = tonumber(said "^held (%d+)")
    suite.pause(0.2)
    holder:signal "STOP"
    local lock = ok(d:lock "x":acquire { wait = suite.patience })
    assert.is_true(lock:token() > token)
    suite.pause(2)
    holder:signal "CONT"
    local held, valid = said "^first (%a+) (%S+)"
    assert.equal("false", held)
    assert.equal(0, tonumber(valid))
    assert.truthy(said "^revoked (.+)")
    assert.equal("1", said "^calls (%d+)")
    assert.equal("lost", said "^release (%S+)")
    assert.is_true(lock:held())
    assert.is_true(lock:release())
    holder:stop()
  end)
end)
