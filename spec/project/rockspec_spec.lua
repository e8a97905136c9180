-- The rockspec: knows every file, and builds from a bare checkout without the network.
local rig = require "spec.support.rig"

local function sh(text, timeout)
  local code, out, err = rig.run({ "sh", "-c", text }, { timeout = timeout or 60 })
  assert.equal(0, code, text .. ":\n" .. tostring(out) .. tostring(err))
  return out
end

describe("the rockspec", function()
  it("names every source file and module (if not: make rockspec)", function()
    assert.equal(sh "script/lib/rockspec", rig.read "dsync-scm-1.rockspec")
  end)

  it("installs with luarocks make, and the result works", function()
    local folder = rig.tempdir()
    local tree, source = folder .. "/tree", folder .. "/source"
    sh("mkdir " .. source .. " && cp -a bin completions csrc lua man dsync-scm-1.rockspec " .. source)
    -- No network where the kernel lets us take it away.
    sh("cd " .. source .. " && cut=; if unshare -rn true 2>/dev/null; then cut='unshare -rn'; fi && "
      .. "env -u LUA_PATH -u LUA_CPATH $cut luarocks --lua-version 5.4 make --tree " .. tree .. " dsync-scm-1.rockspec",
      120)
    local out = sh("LUA_PATH='" .. tree .. "/share/lua/5.4/?.lua' LUA_CPATH='" .. tree .. "/lib/lua/5.4/?.so' "
      .. "lua5.4 -e 'local d = assert(require(\"dsync\").open(\"memory:\")) "
      .. "print(assert(d:lock(\"x\"):acquire()):held())'")
    assert.equal("true\n", out)
    assert.equal("under a lock\n", sh("env -u LUA_PATH -u LUA_CPATH DSYNC_URL=memory: " .. tree
      .. "/bin/dsync run name echo under a lock"))
  end)
end)
