-- The test rig itself: a rig that loses lines or leaves processes behind makes every other test a liar.
local rig = require "spec.support.rig"
local worker = require "spec.support.worker"

describe("the rig", function()
  it("runs a program: input, output, environment, exit code, limit", function()
    local code, out, err = rig.run({ "sh", "-c", "echo a; cat; echo \"$X\" >&2; exit 3" },
      { input = "in\tput\\n\n", env = { X = "1 2" } })
    assert.same({ 3, "a\nin\tput\\n\n", "1 2\n" }, { code, out, err })
    local none, why = rig.run({ "sleep", "5" }, { timeout = 0.2 })
    assert.is_nil(none)
    assert.equal("timeout", why)
  end)

  it("talks with a worker, stops and continues it, and hears its end", function()
    local w = worker.run([[
      print("hi", ...)
      for line in io.lines() do print("got " .. line) end
      io.stderr:write "going\n"
      os.exit(7)
    ]], { args = { "x y" } })
    assert.equal("hi\tx y", w:line(5))
    w:write "one\n"
    assert.equal("got one", w:expect("^got", 5))
    w:signal "STOP"
    w:write "two\n"
    assert.same({ nil, "timeout" }, { w:line(0.1) })
    w:signal "CONT"
    assert.equal("got two", w:line(5))
    assert.is_true(w:alive())
    w:close_input()
    assert.equal(7, w:wait(5))
    assert.same({ nil, "eof" }, { w:line(1) })
    assert.truthy(worker.output(w):find "going")
    assert.same({ nil, "eof" }, { w:signal "TERM" })
    w:stop()
  end)

  it("gives different free ports", function()
    local seen = {}
    for _, port in ipairs(rig.ports(20)) do
      assert.is_nil(seen[port])
      seen[port] = true
    end
  end)

  -- A Lua program that starts children of several kinds and says their process ids, then is killed.
  local children = [[
    package.path = "./?.lua;" .. package.path
    local rig = require "spec.support.rig"
    local deaf = rig.start({ "sh", "-c", "trap '' TERM INT HUP; sleep 61 & echo $!; wait; sleep 62" })
    print(deaf.pid, deaf:line(5), rig.start({ "sleep", "63" }).pid)
    print(rig.tempdir(true))
    io.stdout:flush()
    deaf:line(60)
  ]]

  for _, way in ipairs { "KILL", "TERM", "INT" } do
    it("leaves nothing behind when its user dies of " .. way, function()
      local w = worker.run(children)
      local pids, folder = assert(w:line(10)), assert(w:line(10))
      w:signal(way)
      assert(w:wait(5))
      for _ = 1, 50 do
        local _, left = rig.run { "sh", "-c", "for p in " .. pids .. "; do kill -0 $p && echo $p; done 2>/dev/null; "
          .. "ls -d " .. folder .. " 2>/dev/null" }
        if left == "" then return end
        rig.run { "sleep", "0.1" }
      end
      error("still there: " .. pids .. " or " .. folder)
    end)
  end
end)
