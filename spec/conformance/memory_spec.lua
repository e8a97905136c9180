-- memory: one store per name and process, shared by all who open the name. Skipped on other backends.
local suite = require "spec.support.suite"
local dsync, ok, fails = suite.dsync, suite.ok, suite.fails

if suite.backend ~= "memory" then return end

describe("memory:", function()
  local clients
  local function open(url, options)
    local client = assert(dsync.open(url, options))
    clients[#clients + 1] = client
    return client
  end
  before_each(function() clients = {} end)
  after_each(function()
    for _, client in ipairs(clients) do client:close() end
  end)

  it("is shared by all who open the same name", function()
    local name = suite.name "memory:"
    local a, b = open(name), open(name)
    ok(a:lock("x"):acquire())
    fails("contended", b:lock("x"):try())
    assert.equal(a:id(), ok(b:lock("x"):holder()).id)
  end)

  it("is another store under another name", function()
    local a, b = open(suite.name "memory:"), open(suite.name "memory:")
    ok(a:lock("x"):acquire())
    ok(b:lock("x"):acquire { wait = 0 })
    assert.equal(1, #ok(a:locks()))
  end)

  it("without a name is one store too", function()
    local a, b = open "memory:", open "memory:"
    local name = suite.name()
    ok(a:lock(name):acquire())
    fails("contended", b:lock(name):try())
  end)

  it("keeps tokens increasing when everybody has left meanwhile", function()
    local url, last = suite.name "memory:", 0
    for _ = 1, 3 do
      local client = open(url)
      local lock = ok(client:lock("x"):acquire())
      assert.is_true(lock:token() > last)
      last = lock:token()
      client:close()
    end
  end)

  it("takes ttls from a tenth of a second", function()
    local d = open(suite.name "memory:", { ttl = 1 })
    ok(d:lock("x"):acquire())
    fails("config", dsync.open("memory:", { ttl = 0.001 }))
  end)

  it("is shared with other Lua states of the process, and not with other processes", function()
    local child = require "spec.support.suite_child"
    local url = suite.name "memory:"
    ok(open(url):lock("x"):acquire())
    assert.equal("true", child.lua(([[
      local dsync = require "dsync"
      io.write(tostring(dsync.open("%s"):lock("x"):try() ~= nil))
    ]]):format(url)))
  end)
end)
