-- Real nginx with the Lua module, in a temporary folder on a free loopback port, and plain HTTP requests to it.
--
--   local server = nginx.start { http = "...", locations = "...", workers = 2, main = "env X;" }
--   local status, body = server:get "/x"
--   local request = server:begin "/slow"; ...; request:finish()
--   server:reload(); server:quit(); server:errors(); server:stop()
--
-- Knows dsync only as a folder of Lua files and a module for LuaJIT.

local rig = require "spec.support.rig"
local socket = require "socket"

local nginx = {}

local server = {}
server.__index = server

local root = io.popen("pwd"):read "*l"

local function first_of(paths)
  for _, path in ipairs(paths) do
    local file = io.open(path, "rb")
    if file then
      file:close()
      return path
    end
  end
end

local PROGRAMS = { "/usr/sbin/nginx", "/usr/local/openresty/nginx/sbin/nginx", "/usr/local/nginx/sbin/nginx" }
local MODULES = "/usr/lib/nginx/modules/"

-- Why there is no such server on this machine, or nil.
function nginx.missing()
  local program = first_of(PROGRAMS)
  if not program then return "no nginx" end
  if not program:find "openresty" and not first_of { MODULES .. "ngx_http_lua_module.so" } then
    return "nginx has no Lua module"
  end
  if not first_of { nginx.build() .. "/luajit/dsync/core.so" } then return "dsync is not built for LuaJIT" end
end

function nginx.build()
  local build = os.getenv "BUILD"
  build = build and build ~= "" and build or "build"
  return build:sub(1, 1) == "/" and build or root .. "/" .. build
end

local function configuration(self)
  local s = self.settings
  local modules = ""
  if first_of { MODULES .. "ngx_http_lua_module.so" } then
    modules = ("load_module %sndk_http_module.so;\nload_module %sngx_http_lua_module.so;\n"):format(MODULES, MODULES)
  end
  return modules .. ([[
user root;
daemon off;
worker_processes %d;
pid %s/nginx.pid;
error_log %s/error.log notice;
worker_rlimit_nofile 8192;
env DSYNC_TEST_URL;
env DSYNC_TEST_OPTIONS;
env DSYNC_TEST_PID;
%s
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path %s/body; proxy_temp_path %s/proxy; fastcgi_temp_path %s/fcgi;
  uwsgi_temp_path %s/uwsgi; scgi_temp_path %s/scgi;
  lua_package_path "%s/lua/?.lua;%s/examples/nginx/?.lua;%s/?.lua;;";
  lua_package_cpath "%s/luajit/?.so;;";
  lua_shared_dict test 1m;
  %s
  server {
    listen 127.0.0.1:%d backlog=4096%s;
    %s
  }
}
]]):format(s.workers or 1, self.folder, self.folder, s.main or "", self.folder, self.folder, self.folder, self.folder,
    self.folder, root, root, root, nginx.build(), s.http or "", self.port, s.reuseport and " reuseport" or "",
    s.locations or "")
end

-- settings: workers, main, http, locations (parts of the configuration), reuseport, env.
function nginx.start(settings)
  local self = setmetatable({ settings = settings, folder = rig.tempdir() }, server)
  self.port = rig.ports(1)[1]
  rig.write(self.folder .. "/nginx.conf", configuration(self))
  self.process = rig.start({ first_of(PROGRAMS), "-p", self.folder, "-c", self.folder .. "/nginx.conf",
    "-e", self.folder .. "/error.log" }, { merge = true, env = settings.env, log = self.folder .. "/output.log" })
  local limit = socket.gettime() + 15
  while true do
    local connection = socket.connect("127.0.0.1", self.port)
    if connection then
      connection:close() -- or a worker would wait a minute for its request
      break
    end
    if socket.gettime() > limit or not self.process:alive() then
      error("nginx did not start: " .. tostring(self:log()) .. (rig.read(self.folder .. "/output.log") or ""), 2)
    end
    socket.sleep(0.02)
  end
  return self
end

---------------------------------------------------------------------------------------------------------- requests

local request = {}
request.__index = request

-- Sends a request and does not wait for its answer.
function server:begin(path)
  local connection = assert(socket.connect("127.0.0.1", self.port))
  assert(connection:send("GET " .. path .. " HTTP/1.0\r\nHost: test\r\n\r\n"))
  return setmetatable({ connection = connection }, request)
end

-- Status and body; nil, "timeout" or what went wrong.
function request:finish(timeout)
  self.connection:settimeout(timeout or 60)
  local text, problem, part = self.connection:receive "*a"
  self.connection:close()
  text = text or part
  local status, body = text:match "^HTTP/1.%d (%d+).-\r\n\r\n(.*)$"
  if not status or problem then return nil, problem or text end
  return tonumber(status), body
end

function server:get(path, timeout)
  return self:begin(path):finish(timeout)
end

------------------------------------------------------------------------------------------------------------- control

function server:master()
  return tonumber((rig.read(self.folder .. "/nginx.pid") or ""):match "%d+")
end

-- Process ids of the workers, those that are shutting down included.
function server:workers()
  local list = {}
  local children = rig.read(("/proc/%d/task/%d/children"):format(self:master(), self:master())) or ""
  for pid in children:gmatch "%d+" do list[#list + 1] = tonumber(pid) end
  return list
end

-- Waits until none of these processes exists; how long it took, or nil when `timeout` was over.
function server.await_gone(_, pids, timeout)
  local began = socket.gettime()
  while socket.gettime() - began < timeout do
    local left = false
    for _, pid in ipairs(pids) do
      local state = (rig.read("/proc/" .. pid .. "/stat") or ""):match "%) (%a)"
      left = left or state ~= nil and state ~= "Z"
    end
    if not left then return socket.gettime() - began end
    socket.sleep(0.005)
  end
end

-- Reloads and returns the ids of the old workers once new ones are there.
function server:reload()
  local old = self:workers()
  self.process:signal "HUP"
  local limit = socket.gettime() + 10
  while socket.gettime() < limit do
    for _, pid in ipairs(self:workers()) do
      local is_old = false
      for _, one in ipairs(old) do is_old = is_old or one == pid end
      if not is_old then return old end
    end
    socket.sleep(0.005)
  end
  error("nginx did not reload", 2)
end

function server:quit()
  self.process:signal "QUIT"
end

function server:log()
  return rig.read(self.folder .. "/error.log") or ""
end

-- Lines of the log that tell of something wrong.
function server:errors()
  local list = {}
  for line in self:log():gmatch "[^\n]+" do
    if line:find "%[error%]" or line:find "%[alert%]" or line:find "%[crit%]" or line:find "%[emerg%]" then
      if not line:find "lua_code_cache is off" then list[#list + 1] = line end
    end
  end
  return list
end

function server:stop()
  self.process:stop(5)
end

return nginx
