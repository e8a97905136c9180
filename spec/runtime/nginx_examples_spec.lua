-- The configurations in examples/nginx do what they say.
local nginx = require "spec.support.nginx"
local rig = require "spec.support.rig"
local suite = require "spec.support.suite"
local in_time = require "spec.support.in_time"

local missing = nginx.missing()
if missing then
  pending("nginx: " .. missing)
  return
end
if suite.options_file then return end -- the examples take an address, but neither certificates nor passwords

describe("the configuration", function()
  local server

  after_each(function()
    if server then server:stop() end
    server = nil
  end)

  local function start(name, workers)
    local text = assert(rig.read("examples/nginx/" .. name .. ".conf"))
    local port = rig.ports(1)[1]
    text = text:gsub("listen 127.0.0.1:%d+", "listen 127.0.0.1:" .. port)
    server = nginx.start {
      workers = workers or 2, main = "env DSYNC_URL;", http = text,
      env = { DSYNC_URL = suite.backend == "memory" and "memory:examples" or suite.url },
    }
    server.port = port
  end

  it("one_worker_of_one_node: exactly one works, and another after a reload", function()
    -- In memory: every process is a world of its own.
    start("one_worker_of_one_node", suite.backend == "memory" and 1 or 2)
    local said
    suite.eventually("the first run", function()
      local _, body = server:get "/job"
      said = body:match "worker (%d+)"
      return said and tonumber(body:match "(%d+) runs") > 0
    end)
    local old = server:reload()
    assert.truthy(server:await_gone(old, suite.patience))
    suite.eventually("another worker", function()
      local _, body = server:get "/job"
      return body:match "worker (%d+)" and body:match "worker (%d+)" ~= said
    end)
    assert.same({}, server:errors())
  end)

  it("one_request_per_customer: one at a time for each", in_time(function(within)
    start("one_request_per_customer", suite.backend == "memory" and 1 or 2)
    local requests, last = {}, 0
    local began = suite.now()
    for i = 1, 6 do requests[i] = server:begin "/customers/anna?seconds=0.1" end
    local other = server:begin "/customers/bert?seconds=0.1"
    assert.equal(200, (other:finish()))
    within(0.5, suite.now() - began, "another customer's request")
    for i = 1, 6 do
      local status, body = requests[i]:finish()
      assert.equal(200, status)
      assert.truthy(body:match "token %d+")
      last = math.max(last, suite.now() - began)
    end
    assert.is_true(last >= 0.6, "they ran at once")
    assert.equal(400, (server:get "/customers/"))
    assert.same({}, server:errors())
    server:stop()
  end))

  it("status: shows elections and locks", function()
    start "status"
    assert.equal(200, (server:get "/status"))
    assert.equal(404, (server:get "/leads"))
    assert.same({}, server:errors())
  end)

  it("reload: requests under a lock finish, those that wait go elsewhere", function()
    start("reload", 1)
    local working = server:begin "/work?seconds=1.5"
    suite.pause(0.2)
    local waiting = server:begin "/work"
    suite.pause(0.2)
    local old = server:reload()
    assert.equal(307, (waiting:finish()))
    local status, body = working:finish()
    assert.equal(200, status, body)
    assert.truthy(server:await_gone(old, suite.patience))
    assert.equal(200, (server:get "/work"))
    assert.same({}, server:errors())
  end)
end)
