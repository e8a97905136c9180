-- script/env: what it prints makes each Lua find the tree, from anywhere.
local rig = require "spec.support.rig"

local function shell(text, env)
  return rig.run({ "sh", "-c", text }, { env = env, timeout = 20 })
end

local root = rig.read "/proc/self/environ":match "PWD=([^%z]*)" or "."

describe("script/env", function()
  for _, lua in ipairs { "5.1", "5.3", "5.4", "luajit" } do
    local program = lua == "luajit" and lua or "lua" .. lua
    if rig.read("build/" .. program .. "/dsync/core.so") then
      it("works for " .. program, function()
        local code, out, err = shell(("cd / && eval \"$('%s/script/env' %s)\" && %s -e 'require \"dsync\" "
          .. "print(package.searchpath and package.searchpath(\"dsync.core\", package.cpath))'"):format(root, lua,
          program), { LUA_PATH = "", LUA_CPATH = "" })
        assert.equal(0, code, err)
        if lua ~= "5.1" then assert.equal(root .. "/build/" .. program .. "/dsync/core.so\n", out) end
      end)
    end
  end

  it("keeps what was there, adds itself once, and replaces itself for another Lua", function()
    local code, out = shell("script/env 5.1 >/dev/null; eval \"$(script/env 5.1)\"; eval \"$(script/env 5.4)\"; "
      .. "echo \"$LUA_PATH\"; echo \"$LUA_CPATH\"", { LUA_PATH = "/my/?.lua;;", LUA_CPATH = "/my/?.so" })
    assert.equal(0, code)
    assert.equal(("%s/lua/?.lua;%s/lua/?/init.lua;/my/?.lua;;\n%s/build/lua5.4/?.so;/my/?.so\n"):format(root, root,
      root), out)
  end)

  it("refuses a Lua that it does not know", function()
    local code, out, err = shell "script/env 9.9"
    assert.equal(64, code)
    assert.equal("", out)
    assert.truthy(err:find "usage")
  end)
end)
