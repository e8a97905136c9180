-- The examples run as they are, end by themselves, and print what they promise.
local suite = require "spec.support.suite"
local child = require "spec.support.suite_child"

local function run(name, ...)
  local code = assert(io.open("examples/" .. name .. ".lua")):read "*a"
  local url = suite.backend == "memory" and "memory:" or suite.url
  return child.lua(code, { DSYNC_URL = url }, ...)
end

-- Each pattern is found, in this order.
local function says(out, patterns)
  local at = 1
  for _, pattern in ipairs(patterns) do
    local _, stop = out:find(pattern, at)
    assert.truthy(stop, ("no %q after position %d of:\n%s"):format(pattern, at, out))
    at = stop + 1
  end
end

describe("the example", function()
  if suite.options_file then return end -- the examples take an address, but neither certificates nor passwords

  it("lock", function()
    says(run "lock", {
      "holding nightly%-report for at least %d+ s with token %d+", "a second try: nil, contended",
      "released, held: false", "hello world under token %d+",
    })
  end)

  it("leader", function()
    local out = run "leader"
    for _, node in ipairs { "node%-1", "node%-2" } do
      says(out, { node .. " leads, term 1, token", node .. " leads, term 2, token", node .. " is done" })
    end
    assert.is_nil(out:find "deposed")
    local last = 0
    for token in out:gmatch "token (%d+)" do
      assert.is_true(tonumber(token) > last)
      last = tonumber(token)
    end
  end)

  it("run_once", function()
    local out = run("run_once", suite.name "day")
    says(out, { "working under token %d+", "node%-%d: did it" })
    local _, works = out:gsub("working", "")
    local _, others = out:gsub("already done by node%-%d", "")
    assert.equal(1, works)
    assert.equal(2, others)
  end)

  it("fenced_writer, which shows a stale write being rejected", function()
    says(run "fenced_writer", {
      "slow wrote under its token", "quick wrote under a higher one", "the store rejected the stale write",
      "slow was told: broken, held: false", "a guarded put answers: lost",
    })
  end)

  it("members_and_watch", function()
    local out = run "members_and_watch"
    -- The watcher begins with what is there then: nobody, or the first worker already.
    says(out, { "event: elected worker%-1", "event: elected worker%-2", "event: elected worker%-3",
      "event: vacant", "watch ended: closed" })
    says(out, { "member: worker%-1 is leader on port 8001",
      "member: worker%-2 is candidate on port 8002", "member: worker%-3 is candidate on port 8003" })
  end)

  it("keep", function()
    says(run "keep", {
      "acquired, time 1", "lost: broken", "acquired, time 2", "lost: broken", "acquired, time 3", "stopped",
    })
  end)

  it("own_loop", function()
    says(run "own_loop", {
      "worker %d holds it, token %d+", "worker %d holds it", "worker %d holds it", "the loop went on meanwhile: true",
      "the loop ended",
    })
  end)
end)
