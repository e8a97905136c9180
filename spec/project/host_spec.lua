-- C hosts: the example with Lua inside, and what an installed copy gives to programs that embed the library.
local rig = require "spec.support.rig"

local function sh(text, env)
  local code, out, err = rig.run({ "sh", "-c", text }, { timeout = 120, env = env })
  assert.equal(0, code, text .. ":\n" .. tostring(out) .. tostring(err))
  return out
end

local host = "build/lua5.4/examples/host/host"

describe("the example host", function()
  it("runs a script in the only thread it has", function()
    local out = sh(host .. " examples/host/script.lua", { DSYNC_URL = "memory:host-example" })
    local _, turns = out:gsub("thread 0, coroutine %d, turn %d: token %d+", "")
    assert.equal(6, turns)
    assert.truthy(out:find "thread 0 is done\n$")
  end)

  it("runs a state in each of several threads, which exclude one another", function()
    local out = sh(host .. " 4 examples/host/script.lua", { DSYNC_URL = "memory:host-example" })
    local tokens, turns = {}, 0
    for token in out:gmatch "turn %d: token (%d+)" do
      assert.is_nil(tokens[token])
      tokens[token], turns = true, turns + 1
    end
    assert.equal(24, turns)
    for i = 1, 4 do assert.truthy(out:find("thread " .. i .. " is done", 1, true)) end
  end)

  it("ends with an error when its script does", function()
    local code, _, err = rig.run({ host, "examples/host/none.lua" }, {})
    assert.equal(1, code)
    assert.truthy(err:find("none.lua", 1, true))
    assert.equal(64, (rig.run({ host }, {})))
  end)
end)

describe("an installed copy", function()
  local prefix
  setup(function()
    prefix = rig.tempdir()
    sh("make -s install PREFIX=/opt/dsync DESTDIR=" .. prefix)
  end)

  -- pkg-config, told where the folder that was installed into stands in for the real one.
  local function flags(what)
    return ("$(PKG_CONFIG_PATH=%s/opt/dsync/lib/pkgconfig pkg-config "
      .. "--define-variable=prefix=%s/opt/dsync %s)"):format(prefix, prefix, what)
  end

  it("says where it will be", function()
    assert.equal("/opt/dsync/include\n", sh(("PKG_CONFIG_PATH=%s/opt/dsync/lib/pkgconfig pkg-config "
      .. "--variable=includedir dsync"):format(prefix)))
  end)

  it("is all that the example in C needs", function()
    local program = prefix .. "/embed"
    sh(("cc -Wall -Werror examples/embed.c %s -o %s"):format(flags "--cflags --libs dsync", program))
    local out = sh(program .. " memory:", { LD_LIBRARY_PATH = prefix .. "/opt/dsync/lib" })
    assert.truthy(out:find "held, token %d+\nstep 1\nstep 2\nstep 3\nreleased\n$", out)
    -- The same without the shared library: what it needs itself is then named too.
    sh(("cc -Wall -Werror examples/embed.c %s -Wl,-Bstatic %s -Wl,-Bdynamic $(pkg-config --libs %s) -lpthread -o %s")
      :format(flags "--cflags dsync", flags "--libs dsync", sh(("echo " .. flags "--print-requires-private dsync"))
      :gsub("%s+", " "), program))
    assert.truthy(sh(program .. " memory:"):find "released\n$")
  end)

  it("is all that a host with Lua inside needs", function()
    local program = prefix .. "/host"
    sh(("cc -Wall -Werror examples/host/host.c $(pkg-config --cflags lua5.4) -L%s/opt/dsync/lib -ldsync-lua5.4 %s "
      .. "$(pkg-config --libs lua5.4) -o %s"):format(prefix, flags "--cflags --libs dsync", program))
    local out = sh(program .. " examples/host/script.lua",
      { DSYNC_URL = "memory:", LD_LIBRARY_PATH = prefix .. "/opt/dsync/lib" })
    assert.truthy(out:find "is done\n$", out)
  end)
end)
