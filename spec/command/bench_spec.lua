-- dsync bench: what it measures, and how it shows it.
local command = require "spec.support.command"
local json = require "dsync.json"
local suite = require "spec.support.suite"

before_each(command.fresh)
after_each(suite.cleanup)

describe("dsync bench", function()
  it("prints rates and percentiles, with hand-overs between two processes", function()
    local code, out, err = command.run { "bench", "--json", "--seconds", "0.5" }
    assert.same({ 0, "" }, { code, err })
    local by_name = {}
    for line in out:gmatch "[^\n]+" do
      local one = assert(json.decode(line), line)
      by_name[one.measure] = one
    end
    for _, name in ipairs { "acquire", "release", "handover" } do
      local one = by_name[name]
      assert.truthy(one and one.count > 0, out)
      assert.is_true(one.per_second > 0)
      assert.is_true(one.p50_ms <= one.p90_ms and one.p90_ms <= one.p99_ms and one.p99_ms <= one.max_ms)
    end
    assert.equal(0, #suite.ok(command.client():locks()))
  end)

  it("prints a table for people, and a line of progress on a terminal only", function()
    local code, out, err = command.run { "bench", "--seconds", "0.3" }
    assert.same({ 0, "" }, { code, err })
    assert.truthy(out:find "^MEASURE +COUNT +PER SECOND +P50 MS +P90 MS +P99 MS +MAX MS\nacquire +%d+ ")
    local _, shown = command.sh("script -qec '" .. command.words() .. " bench --seconds 0.6' /dev/null </dev/null")
    assert.truthy(shown:find("cycles, %d+ per second, %d s left"), shown)
  end)
end)
