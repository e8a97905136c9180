-- How the suite runs a step, and when it runs one again.
local rig = require "spec.support.rig"
local suite = require "spec.support.suite"

local folder

local function path(name) return folder .. "/" .. name end

local function stood_still(seconds_ago)
  local now = os.time() - seconds_ago
  rig.write(path "stalls", ("%d000000 %d000000 0.70 s late on processor 1\n"):format(now - 1, now))
end

-- Runs bash's words as a step: its result, and the line about it.
local function step(words)
  local _, out = rig.run { "script/lib/job", folder, "step", "20", "bash", "-c", words }
  return rig.read(path "step.result"), out
end

-- Fails the first time, passes the second.
local function fails_once(how)
  return ("cd %s; mkdir been && echo 3 passed, 1 failed && %s; echo 4 passed, 0 failed"):format(folder, how)
end

describe("a step of the suite", function()
  before_each(function() folder = rig.tempdir() end)

  it("counts what passed, failed and was skipped", function()
    assert.equal("3 0 1\n", (step "echo 3 passed, 0 failed, 1 skipped"))
    assert.equal("0 1 0\n", (step "exit 1"))
    assert.equal("1 0 0\n", (step "true"))
    local result, line = step "echo 5 passed, 0 failed; kill -SEGV $$"
    assert.equal("5 1 0\n", result)
    assert.truthy(line:find("1 FAILED (signal 11)", 1, true), line)
  end)

  it("that failed has failed, where nothing stood still", function()
    assert.equal("3 1 0\n", (step(fails_once "exit 1")))
    os.execute("rmdir " .. path "been")
    stood_still(3600)
    assert.equal("3 1 0\n", (step(fails_once "exit 1")))
  end)

  it("that failed while a processor stood still runs once more, and says so", function()
    stood_still(-3600)
    local result, line = step(fails_once "exit 1")
    assert.equal("4 0 0\n", result)
    assert.truthy(line:find("4 passed, run again: 0.70 s late on processor 1", 1, true), line)
    assert.equal("3 passed, 1 failed\n", rig.read(path "step.first.log"))
    assert.equal("0 1 0\n", (step "exit 1"))
  end)

  it("that crashed does not run again", function()
    stood_still(-3600)
    assert.equal("3 1 0\n", (step(fails_once "kill -SEGV $$")))
  end)

  it("knows of processors that stood still", function()
    local watch = rig.start { "script/lib/stalls", path "stalls" }
    suite.eventually("it begins", function() return rig.read(path "stalls") end)
    suite.pause(0.5)
    watch:signal "STOP"
    suite.pause(0.6)
    watch:signal "CONT"
    suite.eventually("it notes that", function()
      return rig.read(path "stalls"):find "%d+ %d+ %d+%.%d+ s late on processor %d+\n"
    end)
    watch:stop()
  end)
end)
