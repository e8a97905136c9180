-- The deliberate bugs: each still has its place in the sources, and none of them is in what is shipped.
local rig = require "spec.support.rig"

local function sh(text, timeout)
  local code, out, err = rig.run({ "sh", "-c", text }, { timeout = timeout or 60 })
  return code, tostring(out) .. tostring(err)
end

describe("the mutants", function()
  it("fit the sources as they are (if not: mend the row in spec/mutants)", function()
    local code, out = sh "lua5.4 spec/mutants/make.lua csrc"
    assert.equal(0, code, out)
  end)

  it("name a test that exists", function()
    for _, mutant in ipairs(require "spec.mutants.list") do
      for _, field in ipairs { "rule", "breaks", "file", "from", "to", "by" } do
        assert.equal("string", type(mutant[field]), mutant.name .. " lacks " .. field)
      end
      local unit = mutant.by:match "^test_.*"
      assert.truthy(not unit or rig.read("spec/unit/" .. unit .. ".c"), mutant.name)
    end
  end)

  it("leave no trace in what is built to be used", function()
    local _, files = sh "ls build/libdsync.a build/libdsync.so build/lua*/dsync/core.so build/libdsync-lua*.a"
    local count = 0
    for file in files:gmatch "%S+" do
      count = count + 1
      local code = sh("grep -qaiE 'ds_mutant|dsync_mutant' " .. file)
      assert.equal(1, code, file)
    end
    assert.is_true(count >= 3)
    -- And this is how one would look.
    local built = sh "test -e build/mutants/libdsync.a"
    if built == 0 then assert.equal(0, (sh "grep -qaE 'ds_mutant' build/mutants/libdsync.a")) end
  end)
end)
