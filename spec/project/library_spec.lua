-- The built files: what they show to others, how they are linked, and that an installed copy can be used.
local rig = require "spec.support.rig"

local function sh(text, timeout)
  local code, out, err = rig.run({ "sh", "-c", text }, { timeout = timeout or 60 })
  assert.equal(0, code, text .. ":\n" .. tostring(out) .. tostring(err))
  return out
end

local objects = {}
for name in sh("ls build/libdsync.so build/lua*/dsync/core.so"):gmatch "%S+" do objects[#objects + 1] = name end

describe("each shared object", function()
  it("exports nothing but its entry points", function()
    for _, object in ipairs(objects) do
      local allowed = object:find "core" and "^luaopen_" or "^dsync_"
      local count = 0
      for symbol in sh("nm -D --defined-only --format=just-symbols " .. object):gmatch "%S+" do
        assert.truthy(symbol:find(allowed), object .. " exports " .. symbol)
        count = count + 1
      end
      assert.is_true(count > 0, object .. " exports nothing")
    end
  end)

  it("lacks nothing at run time but what the Lua program brings", function()
    for _, object in ipairs(objects) do
      for symbol in sh("ldd -r " .. object .. " 2>&1"):gmatch "undefined symbol: (%S+)" do
        assert.truthy(object:find "core" and symbol:find "^luaL?_", object .. " lacks " .. symbol)
      end
    end
  end)

  it("has its relocations read-only and bound at load, no executable stack, and is never unmapped", function()
    for _, object in ipairs(objects) do
      local flags = sh("readelf -d " .. object)
      assert.truthy(flags:find "BIND_NOW" or flags:find "NOW", object)
      assert.truthy(flags:find "NODELETE", object)
      local segments = sh("readelf -lW " .. object)
      assert.truthy(segments:find "GNU_RELRO", object)
      assert.falsy(segments:find "GNU_STACK[^\n]*RWE", object)
    end
  end)
end)

describe("make install", function()
  it("gives C programs and Lua programs what they need", function()
    local prefix = rig.tempdir()
    sh("make -s install PREFIX=" .. prefix)
    rig.write(prefix .. "/main.c", [[
      #include <dsync.h>
      #include <stdio.h>
      int main(void) {
          dsync_client *client = dsync_open("memory:", NULL, NULL);
          puts(client != NULL ? dsync_client_backend(client) : "none");
          dsync_client_unref(client);
          return 0;
      }
    ]])
    local flags = "$(PKG_CONFIG_PATH=" .. prefix .. "/lib/pkgconfig pkg-config --cflags --libs dsync)"
    sh(("cd %s && gcc -Wall -Werror -o shared main.c %s"):format(prefix, flags))
    assert.equal("memory\n", sh(("LD_LIBRARY_PATH=%s/lib %s/shared"):format(prefix, prefix)))
    sh(("cd %s && gcc -Iinclude -o static main.c lib/libdsync.a -lcurl -lcjson -lsqlite3 -lpthread"):format(prefix))
    assert.equal("memory\n", sh(prefix .. "/static"))
    assert.equal("function\n", sh(("LUA_PATH='%s/share/lua/5.4/?.lua' LUA_CPATH='%s/lib/lua/5.4/?.so' lua5.4 -e "
      .. "'print(type(require(\"dsync\").open))'"):format(prefix, prefix)))
  end)
end)
