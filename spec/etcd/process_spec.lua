-- The process around a client: its children, its signals, its end.
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_etcd"
local child = require "spec.support.suite_child"
local ok = suite.ok

describe("a program", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)

  it("hands none of the library's descriptors to its children", function()
    local out = child.lua([[
      local dsync = require "dsync"
      local function list() os.execute "ls /proc/self/fd | tr '\\n' ' '; echo" io.stdout:flush() end
      io.stdout:setvbuf "no"
      list()
      local d = assert(dsync.open(arg[1], { prefix = arg[2] }))
      local lock = assert(d:lock("x"):acquire())
      assert(d:watch {})
      assert(d:fd())
      list()
      d:close()
      list()
    ]], nil, bench.server.url, suite.prefix())
    local before, during, after = out:match "^([^\n]+)\n([^\n]+)\n([^\n]+)\n$"
    assert.is_string(before, out)
    assert.equal(before, during)
    assert.equal(before, after)
  end)

  it("loads no libcurl as long as gRPC is spoken", function()
    local script = [[
      local dsync = require "dsync"
      local d = assert(dsync.open(arg[1], { prefix = arg[2], etcd = { transport = arg[3] } }))
      assert(assert(d:lock("x"):acquire()):release())
      local maps = assert(io.open "/proc/self/maps"):read "*a"
      print(maps:find "libcurl" ~= nil, maps:find "libnghttp2" ~= nil)
    ]]
    assert.equal("false\ttrue\n", child.run(script, nil, bench.server.url, suite.prefix(), "grpc"))
    assert.equal("false\ttrue\n", child.run(script, nil, bench.server.url, suite.prefix(), "auto"))
    local out = child.run(script, nil, bench.server.url, suite.prefix(), "json") -- some libcurls bring libnghttp2
    assert.truthy(out:find "^true\t", out)
  end)

  it("that ends without releasing leaves nothing, however it ends", function()
    local d = suite.open()
    for i, ending in ipairs { "", "os.exit(0, true)", "error 'x'", "d:close()", "lock:release()", "os.exit(0)" } do
      local out = child.run(([[
        local dsync = require "dsync"
        local d = assert(dsync.open(arg[1], { prefix = arg[2], ttl = 60 }))
        local lock = assert(d:lock("x"):acquire())
        dsync.spawn(function() d:lock("x"):acquire() end)
        print "held"
        %s
      ]]):format(ending), nil, bench.server.url, suite.prefix())
      assert.equal("held\n", out)
      if i < 6 then -- os.exit without closing the state runs no finalizer: that lock ends with its ttl
        ok(ok(d:lock "x":acquire { wait = suite.patience / 2 }):release())
      end
    end
  end)

  it("can be interrupted while it waits", function()
    local d = suite.open()
    local held = ok(d:lock "x":acquire())
    local waiter = child.start([[
      local dsync = require "dsync"
      local d = assert(dsync.open(arg[1], { prefix = arg[2] }))
      print "waiting"
      print(pcall(function() return d:lock("x"):acquire() end))
    ]], nil, bench.server.url, suite.prefix())
    assert.is_string((waiter:expect("^waiting", suite.patience)))
    suite.until_waiting(d, "x", 1)
    waiter:signal "INT"
    assert.is_number(waiter:wait(suite.patience))
    suite.until_waiting(d, "x", 0)
    assert.is_true(held:held())
    waiter:stop()
  end)

  it("keeps its signals to itself: the library's threads take none", function()
    local process = child.start([[
      local dsync = require "dsync"
      local d = assert(dsync.open(arg[1], { prefix = arg[2] }))
      assert(d:lock("y"):acquire())
      for line in io.lines "/proc/self/status" do
        if line:find "^SigBlk" then print("main " .. line) end
      end
      local threads = io.popen "cat /proc/$PPID/task/*/status"
      for line in threads:lines() do
        if line:find "^SigBlk" then print(line) end
      end
      print "end"
    ]], nil, bench.server.url, suite.prefix())
    local masks = {}
    while true do
      local line = process:line(suite.patience)
      if not line or line == "end" then break end
      masks[#masks + 1] = line:match "%x+$"
    end
    process:stop()
    assert.equal("0000000000000000", masks[1])
    local blocked = 0
    for i = 2, #masks do
      if masks[i] ~= "0000000000000000" then
        blocked = blocked + 1
        local low = tonumber(masks[i]:sub(9), 16)
        for _, number in ipairs { 1, 2, 10, 13, 14, 15, 17 } do
          assert.equal(1, math.floor(low / 2 ^ (number - 1)) % 2, "signal " .. number .. " in " .. masks[i])
        end
      end
    end
    assert.is_true(blocked >= 1)
  end)
end)
