-- dsync inside real workers of nginx: the shared cases, and what only nginx has: phases, reloads, workers that end.
local cases = require "spec.support.runtime_cases"
local nginx = require "spec.support.nginx"
local suite = require "spec.support.suite"
local in_time = require "spec.support.in_time"

local missing = nginx.missing()

local function start(settings)
  settings.env = { DSYNC_TEST_URL = suite.backend == "memory" and "memory:nginx" or suite.url,
    DSYNC_TEST_OPTIONS = suite.options_file or "", DSYNC_TEST_PID = os.getenv "DSYNC_TEST_PID" or "" }
  return nginx.start(settings)
end

-- The last word of several requests at once.
local function finish_all(requests)
  for i, request in ipairs(requests) do
    local status, body = request:finish()
    assert.equal(200, status, body)
    requests[i] = body:gsub("%s+$", "")
  end
  return requests
end

local function location(path, code, kind)
  return ("location %s { %s { %s } }\n"):format(path, kind or "content_by_lua_block", code)
end

local CLIENT = "local client = require('spec.support.nginx_worker').client() "

if missing then
  pending("nginx: " .. missing)
  return
end

describe("in workers of nginx", function()
  local server

  setup(function()
    server = start { workers = 2, locations = location("/case", "require('spec.support.nginx_worker').case()") }
  end)
  teardown(function()
    server:stop()
  end)

  for i, case in ipairs(cases) do
    it(case.name, function()
      -- Two at once, so that both workers are likely to be asked; the crowds are big enough by themselves.
      local requests = {}
      for j = 1, case.name:find "silent" and 1 or 2 do requests[j] = server:begin("/case?n=" .. i) end
      for _, body in ipairs(finish_all(requests)) do assert.equal("ok", body) end
    end)
  end

  it("nothing was written to the error log", function()
    assert.same({}, server:errors())
  end)
end)

describe("phases of nginx", function()
  local server

  after_each(function()
    if server then server:stop() end
    server = nil
  end)

  it("that cannot wait say so, by name, and say what to do", function()
    local try = "local _, m, c = client:lock('p'):acquire(); ngx.shared.test:set('%s', tostring(c) .. ' ' .. m)"
    local phases = {
      header_filter = "header_filter_by_lua_block", body_filter = "body_filter_by_lua_block", log = "log_by_lua_block",
    }
    local filters = ""
    for phase, directive in pairs(phases) do
      filters = filters .. directive .. " { " .. CLIENT .. try:format(phase) .. " }\n"
    end
    server = start {
      http = "init_by_lua_block { local d, m, c = require('spec.support.nginx_worker').open(); "
        .. "ngx.shared.test:set('init', tostring(c) .. ' ' .. m) }\n"
        .. "init_worker_by_lua_block { " .. CLIENT .. try:format "init_worker" .. " }",
      locations = "location /x { content_by_lua_block { ngx.say('x') } " .. filters .. " }"
        .. location("/said", "ngx.say(ngx.shared.test:get(ngx.var.arg_of))"),
    }
    assert.equal(200, (server:get "/x"))
    for _, phase in ipairs { "init", "init_worker", "header_filter", "body_filter", "log" } do
      local _, said = server:get("/said?of=" .. phase)
      assert.truthy(said:find '^phase ', phase .. ": " .. said)
      assert.truthy(said:find('"' .. phase .. '"', 1, true), said)
      if phase ~= "init" then assert.truthy(said:find("ngx.timer.at", 1, true), said) end
    end
    assert.same({}, server:errors())
  end)

  it("that can wait do: rewrite, access, content, timer", function()
    local use = "local l = assert(client:lock('%s'):acquire { wait = 10 }) ngx.sleep(0.001) assert(l:release()) "
    server = start {
      locations = "location /x { "
        .. "rewrite_by_lua_block { " .. CLIENT .. use:format "a" .. " } "
        .. "access_by_lua_block { " .. CLIENT .. use:format "b" .. " } "
        .. "content_by_lua_block { " .. CLIENT .. use:format "c"
        .. "local s = require('ngx.semaphore').new() "
        .. "ngx.timer.at(0, function() " .. use:format "d" .. " s:post() end) assert(s:wait(10)) ngx.say('done') } }",
    }
    local status, body = server:get "/x"
    assert.equal(200, status)
    assert.equal("done\n", body)
    assert.same({}, server:errors())
  end)

  it("a lock taken in one request is released in another", function()
    server = start {
      locations = location("/take", CLIENT .. "assert(client:acquire('n', {wait = 5})) ngx.say('taken')")
        .. location("/give", CLIENT .. "assert(client:release('n')) ngx.say('given')"),
    }
    for _ = 1, 3 do
      assert.equal("taken\n", select(2, server:get "/take"))
      local waiting = server:begin "/take"
      suite.pause(0.1)
      assert.equal("given\n", select(2, server:get "/give"))
      assert.equal("taken\n", select(2, waiting:finish()))
      assert.equal("given\n", select(2, server:get "/give"))
    end
  end)

  it("a worker without anything to do writes no errors and lets its helpers go", function()
    server = start {
      http = "init_worker_by_lua_block { require('dsync.runtime.ngx_pump').period = 0.2 }",
      locations = location("/wait", CLIENT .. "client:lock('i'):acquire { wait = 1.5 } ngx.say('over')")
        .. location("/hold", CLIENT .. "assert(client:acquire('i')) ngx.say('held')")
        .. location("/free", CLIENT .. "assert(client:release('i')) ngx.say('free')")
        .. location("/timers", "ngx.say(ngx.timer.running_count() + ngx.timer.pending_count())"),
    }
    assert.equal("held\n", select(2, server:get "/hold"))
    assert.equal("over\n", select(2, server:get "/wait"))
    assert.equal("free\n", select(2, server:get "/free"))
    suite.eventually("no timers", function() return select(2, server:get "/timers") == "0\n" end)
    assert.equal("held\n", select(2, server:get "/hold"))
    assert.same({}, server:errors())
  end)

  it("workers survive lua_code_cache off, and do not gather threads", function()
    server = start {
      http = "lua_code_cache off; init_worker_by_lua_block { require('dsync.runtime.ngx_pump').period = 0.2 }",
      locations = location("/x", "require('dsync.runtime.ngx_pump').period = 0.2 " .. CLIENT
        .. "local l = assert(client:lock('c'):acquire { wait = 10 })"
        .. " ngx.sleep(0.01) assert(l:release()) ngx.say('ok')"),
    }
    for _ = 1, 20 do
      local both = finish_all { server:begin "/x", server:begin "/x" }
      assert.same({ "ok", "ok" }, both)
    end
    local pid = server:workers()[1]
    suite.eventually("few threads", function()
      server:get "/x"
      local status = require("spec.support.rig").read("/proc/" .. pid .. "/status")
      return tonumber(status:match "Threads:%s+(%d+)") < 12
    end)
    assert.equal(pid, server:workers()[1])
    assert.same({}, server:errors())
  end)
end)

describe("a worker of nginx that ends", function()
  local server

  after_each(function()
    if server then server:stop() end
    server = nil
    suite.cleanup()
  end)

  local locations = location("/hold", CLIENT .. "assert(client:acquire('h', {wait = 5})) ngx.say('held')")
    .. location("/wait", CLIENT .. "local _, m, c = client:lock(ngx.var.arg_n):acquire() ngx.say(c)")
    .. location("/next", CLIENT .. "local w = client:watch { name = 'q' } local _, m, c "
      .. "repeat _, m, c = w:next() until not _ ngx.say(c)")
    .. location("/lead", CLIENT .. "ngx.timer.at(0, function() client:leader('l'):run { on_elected = function() "
      .. "ngx.shared.test:set('led', ngx.worker.pid()) end } end) ngx.say('running')")
    .. location("/led", "ngx.say(ngx.shared.test:get('led'))")

  for _, how in ipairs { "HUP", "QUIT" } do
    it("after " .. how .. " tells those who wait, hands over and is gone in a second or so", in_time(function(within)
      server = start { workers = 1, locations = locations }
      assert.equal("held\n", select(2, server:get "/hold"))
      assert.equal("running\n", select(2, server:get "/lead"))
      local old = server:workers()
      suite.eventually("the election", function()
        return tonumber((select(2, server:get "/led"))) == old[1]
      end)
      local waiting = { server:begin "/wait?n=h", server:begin "/next" }
      suite.pause(0.2)
      if how == "HUP" then server:reload() else server:quit() end
      for _, body in ipairs(finish_all(waiting)) do assert.equal("exiting", body) end
      local seconds = server:await_gone(old, suite.patience)
      assert.truthy(seconds, "the old worker is still there")
      within(1.5, seconds, "ending")
      if suite.backend ~= "memory" then
        local client = suite.open { prefix = "nginx" }
        local lock = suite.ok(client:lock("h"):try())
        lock:release()
        local _, _, code = client:leader("l"):leader()
        assert.equal("vacant", code)
      end
      if how == "HUP" then
        assert.equal("held\n", select(2, server:get "/hold"))
      end
      assert.same({}, server:errors())
      server:stop()
    end))
  end
end)
