-- client.lua: Client: makes locks, leaders and watchers; shows what it is; closes.

local check = require "dsync.check"
local core = require "dsync.core"
local dispatch = require "dsync.dispatch"
local errors = require "dsync.errors"
local json = require "dsync.json"
local lock = require "dsync.lock"
local options = require "dsync.options"
local runtime = require "dsync.runtime"
local store = require "dsync.store"
local waiting = require "dsync.waiting"

-- What many programs never use (elections, watches) is loaded when it is first asked for.
local pairs, require, setmetatable, type = pairs, require, setmetatable, type

local client = {}

local Client = { __name = "dsync.client" }
Client.__index = Client
store.install(Client)

function Client:__tostring()
  local one = self._core
  local where = one:endpoints()
  return 'dsync client "' .. one:backend() .. '"' .. (where and where ~= "" and " (" .. where .. ")" or "")
end

----------------------------------------------------------------------------------------------------- locks and leaders

--- A lock by name. No I/O.
function Client:lock(name, given)
  return lock.new(self, name, given)
end

--- A role in an election. No I/O.
function Client:leader(name, given)
  return require("dsync.leader").new(self, name, given)
end

-- One table of options for the lock and for acquiring it.
local function split(call, given)
  options.check(call, given, "lock_and_acquire")
  local of_lock = {}
  for name, value in pairs(given or of_lock) do
    if name ~= "cancel" then
      of_lock[name] = value
    end
  end
  return of_lock, given and given.cancel and { cancel = given.cancel } or nil
end

--- Acquires a lock by name: the held lock, or nil, message, code.
function Client:acquire(name, given)
  check.text("acquire", "name", name)
  local of_lock, of_acquire = split("acquire", given)
  local one, message, code = self:lock(name, of_lock)
  if one then
    one, message, code = one:acquire(of_acquire)
  end
  if not one then
    return nil, message, code
  end
  self._names[name] = one
  return one
end

--- Releases the lock of this name that client:acquire took.
function Client:release(name, given)
  check.text("release", "name", name)
  local one = self._names[name]
  if not one then
    return nil, 'this client has not acquired a lock "' .. name .. '" by name', "not_held"
  end
  self._names[name] = nil
  return one:release(given)
end

--- Runs fn(lock, ...) under a lock and returns its results. Released on return and on error (which is raised again).
--- nil, message, code when the lock could not be taken, or ("lost") when it was lost before fn returned.
function Client:with_lock(name, given, fn, ...)
  if type(given) == "function" then
    return self:with_lock(name, nil, given, fn, ...)
  end
  check.text("with_lock", "name", name)
  local of_lock, of_acquire = split("with_lock", given)
  check.callable("with_lock", "fn", fn)
  local one, message, code = self:lock(name, of_lock)
  if not one then
    return nil, message, code
  end
  return lock.with(one, of_acquire, fn, ...)
end

--- Follows one election, or all of a namespace.
function Client:watch(given)
  local opts = options.check("watch", given, "watch")
  return require("dsync.watcher").new(self, opts.namespace, opts.name, opts.key)
end

------------------------------------------------------------------------------------------------------------ itself

function Client:id()
  return self._core:id()
end

local function without_nulls(all)
  for name, value in pairs(all) do
    if value == json.null then
      all[name] = nil
    elseif type(value) == "table" then
      without_nulls(value)
    end
  end
  return all
end

--- The name of the backend: "etcd", "local", ...
function Client:backend()
  return self._core:backend()
end

--- Where its servers are, as a list: {"http://a:2379", ...}.
function Client:endpoints()
  local list = {}
  for endpoint in (self._core:endpoints() or ""):gmatch "[^,%s]+" do
    list[#list + 1] = endpoint
  end
  return list
end

--- The options in effect; secrets are "***".
function Client:options()
  local text, message, code = self._core:options()
  if not text then
    return nil, message, code
  end
  local all = without_nulls(json.decode(text) or {})
  if type(self._given.value) == "table" then
    all.value = self._given.value
  end
  all.runtime = self._adapter.name
  return all
end

function Client:stats()
  return self._core:stats()
end

--- The descriptor that is readable while callbacks are waiting for dispatch().
function Client:fd()
  return self._core:fd()
end

--- Delivers what is pending to callbacks; with a timeout waits for something to deliver. How many events there were.
function Client:dispatch(given)
  local timeout, cancel = options.timeout("dispatch", given)
  local count = dispatch.pump(self)
  dispatch.settle(self)
  if count > 0 or not timeout or timeout == 0 or self._closed then
    return count
  end
  local wanted, message, code = dispatch.want(self)
  if not wanted then
    return nil, message, code
  end
  self._dispatched = 0
  local ok
  ok, message, code = waiting.idle(self, timeout, cancel)
  if not self._closed then
    dispatch.unwant(self)
  end
  dispatch.settle(self)
  if not ok then
    return nil, message, code
  end
  return self._dispatched
end

--- Releases everything and ends the sessions: true, or nil, message, "unknown" when the server did not confirm it
--- within `timeout` (default: close_timeout).
function Client:close(timeout)
  check.seconds("close", "timeout", timeout)
  local ok, message, code
  -- Wanted before it is begun: a client that is closing gives out no descriptor.
  local waits = not self._closed and waiting.parks(self) and self._adapter.can_wait() and dispatch.want(self)
  if waits then
    ok, message, code = waiting.perform(self, nil, self._core, "close_start", timeout)
  end
  self._closed = true
  dispatch.detach(self)
  if waits then
    self._core:close(0)
  else
    ok, message, code = self._core:close(timeout)
  end
  self._names = {}
  dispatch.pump(self)
  dispatch.wake_all(self)
  dispatch.settle(self)
  return ok, message, code
end

-- Lua 5.4, `local d <close> = ...`: must not wait.
function Client:__close()
  self._closed = true
  dispatch.detach(self)
  self._core:close_later()
  dispatch.wake_all(self)
end

local WEAK = { __mode = "v" }

--- dsync.open: a client, or nil, message, code.
function client.open(url, given)
  if type(url) == "table" and given == nil then
    url, given = nil, url
  elseif url ~= nil then
    check.text("open", "url", url)
  end
  local opts = options.check("open", given, "client")
  if url and opts.url then
    errors.raise('open: the URL is given twice: as the argument and as option "url"')
  end
  local adapter = runtime.choose("open", opts.runtime)
  if adapter.can_open then
    local can, message, code = adapter.can_open()
    if not can then
      return nil, message, code
    end
  end
  if type(opts.value) == "table" then
    options.encode_value("open", opts.value, opts.raw) -- raises now, not at the first lock
  end
  local one, message, code = core.open(url or opts.url, options.for_client(opts))
  if not one then
    return nil, message, code == "invalid" and "config" or code
  end
  one:want_notices(opts.on_event ~= nil)
  local self = setmetatable({
    _core = one,
    _given = opts,
    _adapter = adapter,
    _on_event = opts.on_event,
    _names = {}, -- by client:acquire
    _waiters = setmetatable({}, WEAK), -- by number of the operation
    _watchers = setmetatable({}, WEAK),
    _slots = setmetatable({}, WEAK), -- by number of the lock
    _idle = {}, -- who waits in dispatch()
    _wanted = 0,
    _closed = false,
  }, Client)
  if adapter.opened then
    adapter.opened(self)
  end
  return self
end

return client
