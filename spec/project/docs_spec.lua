-- The Lua in docs/migrating.md and docs/options.md: what it shows is run, block after block, as one program.

local rig = require "spec.support.rig"

local function blocks(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  local list = {}
  for block in text:gmatch "\n```lua\n(.-)\n```" do list[#list + 1] = block end
  return list
end

describe("the Lua of docs/migrating.md", function()
  for _, url in ipairs { "memory:", "local:" } do
    it("runs on " .. url, function()
      local list = blocks "docs/migrating.md"
      assert.is_true(#list >= 6)
      local folder = rig.tempdir()
      rig.write(folder .. "/main.lua", table.concat(list, "\n"))
      local where = url == "local:" and url .. folder .. "/locks.db" or url
      local code, out, err = rig.run({ "lua5.4", folder .. "/main.lua" }, { env = { DSYNC_URL = where }, timeout = 60 })
      assert.equal(0, code, tostring(out) .. tostring(err))
    end)
  end
end)

describe("the Lua of docs/options.md", function()
  it("runs", function()
    local folder = rig.tempdir()
    rig.write(folder .. "/main.lua", table.concat(blocks "docs/options.md", "\n"))
    local code, out, err = rig.run({ "lua5.4", folder .. "/main.lua" }, { timeout = 60 })
    assert.equal(0, code, tostring(out) .. tostring(err))
  end)
end)
