-- The shared cases as a worker of nginx runs them: GET /case?n=3 answers "ok", or what went wrong.
local cases = require "spec.support.runtime_cases"
local dsync = require "dsync"

local ngx = require "ngx"

local worker = {}

local counter = 0

local function name(stem)
  counter = counter + 1
  return ("%s-%d-%d-%d"):format(stem or "name", ngx.worker.pid(), counter, math.random(1e9))
end

-- Options for the backend under test.
function worker.options(more)
  local file = os.getenv "DSYNC_TEST_OPTIONS" or ""
  local all = file ~= "" and dofile(file) or {}
  all.prefix = "nginx"
  for key, value in pairs(more or {}) do all[key] = value end
  return all
end

function worker.open(more)
  return dsync.open(os.getenv "DSYNC_TEST_URL", worker.options(more))
end

local shared

-- The one client that the requests of this worker share.
function worker.client()
  shared = shared or assert(worker.open())
  return shared
end

local pid = tonumber(os.getenv "DSYNC_TEST_PID" or "")

local env = {
  dsync = dsync, runtime = "ngx", name = name, crowd = 1000, server_pid = pid, open_loose = worker.open,
  sleep = function(seconds) ngx.sleep(seconds) end,
  spawn = function(fn) ngx.thread.spawn(fn) end,
  signal_server = function(signal) os.execute(("kill -%s %d"):format(signal, pid)) end,
}

function worker.case()
  local one = cases[tonumber(ngx.var.arg_n)]
  local ok, failure = pcall(cases.run, one, env)
  ngx.say(ok and "ok" or failure)
end

local core = require "dsync.core"

-- GET /contend?n=LOCK&s=SECONDS: holds a lock for a moment. Answers "code waited handover": how long the wait took,
-- and, for who had to wait, how long ago the one before let go. "double": somebody else was inside.
function worker.contend()
  local shared_dict, n = ngx.shared.test, ngx.var.arg_n
  local began = core.now()
  local lock, _, code = worker.client():lock("load" .. n):acquire { wait = tonumber(ngx.var.arg_s) }
  local got = core.now()
  if not lock then
    ngx.say(code, " ", got - began, " -")
    return
  end
  local released = shared_dict:get("released" .. n) or 0
  local inside = shared_dict:incr("inside" .. n, 1, 0)
  local held = lock:held()
  ngx.sleep(0.001)
  held = held and lock:held()
  shared_dict:incr("inside" .. n, -1)
  shared_dict:set("released" .. n, core.now())
  lock:release()
  local said = held and inside ~= 1 and "double" or "ok"
  ngx.say(said, " ", got - began, " ", released > began and got - released or "-")
end

-- GET /idle?n=LOCK&s=SECONDS: waits.
function worker.idle()
  local began = core.now()
  local lock, _, code = worker.client():lock("idle" .. ngx.var.arg_n):acquire { wait = tonumber(ngx.var.arg_s) }
  local waited = core.now() - began
  if lock then lock:release() end
  ngx.say(lock and "ok" or code, " ", math.min(waited, 1), " -")
end

return worker
