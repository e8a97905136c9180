-- lock.lua: Lock: acquire, release, who holds and who waits; and with_lock.

local dispatch = require "dsync.dispatch"
local errors = require "dsync.errors"
local holding = require "dsync.holding"
local options = require "dsync.options"
local protect = require "dsync.protect"
local revoke = require "dsync.revoke"
local waiting = require "dsync.waiting"

local date, error, floor, ipairs, pairs, setmetatable = os.date, error, math.floor, ipairs, pairs, setmetatable

local lock = {}

local Lock = { __name = "dsync.lock", _what = "lock" }
Lock.__index = Lock
holding.install(Lock)

function Lock:__tostring()
  return 'dsync lock "' .. self:name() .. '" (' .. self:state() .. ")"
end

local HOLDING = { held = true, suspect = true, lost = true }

-- The acquisition that questions are about; "next": the one that a callback registered now is for.
function Lock:_acq(which)
  local core = self._core
  local number = core:acquisition()
  if which == "next" and not HOLDING[core:state()] then
    return number + 1
  end
  return number
end

--- Takes the lock: the lock itself, or nil, message, code ("timeout", "contended", "already_held", "cancelled", ...).
--- Options: wait (seconds; 0 = try once; absent: the lock's, else for ever), hold, value, cancel.
function Lock:acquire(given)
  local opts = options.check("acquire", given, "acquire")
  local wanted = given and options.for_acquire("acquire", opts, self._raw)
  local ok, message, code = waiting.perform(self._client, opts.cancel, self._core, "acquire", wanted)
  if not ok then
    return nil, message, code
  end
  self._value = opts.value
  return self
end

--- acquire, without waiting for anybody.
function Lock:try(given)
  options.check("try", given, "acquire")
  local opts = {}
  for name, value in pairs(given or opts) do
    opts[name] = value
  end
  opts.wait = 0
  return self:acquire(opts)
end

--- Gives the lock up: true, or nil, message, code ("lost", "not_held", "unknown").
function Lock:release(given)
  local opts = options.check("release", given, "cancel")
  local core, client = self._core, self._client
  local acquisition = core:acquisition()
  local ok, message, code = waiting.perform(client, opts.cancel, core, "release")
  self._slot:released(core, acquisition)
  if client._names[self:name()] == self and not core:held() then
    client._names[self:name()] = nil
  end
  return ok, message, code
end

-- Lua 5.4, `local l <close> = ...`: must not wait, and what was lost has been announced elsewhere.
function Lock:__close()
  local core = self._core
  if core:held() then
    self._slot:drop(core:acquisition())
    local op = core:release()
    if op then
      op:free()
    end
  end
end

--- "idle" "entering" "waiting" "lock-delay" "held" "suspect" "releasing" "lost". In a lock-delay, when nobody holds but
-- the server lets nobody in, also until when: "lock-delay", "at most until 2024-05-06T07:08:09Z".
function Lock:state()
  local state, until_seconds = self._core:state()
  if until_seconds and state == "lock-delay" then
    return state, date("!at most until %Y-%m-%dT%H:%M:%SZ", floor(until_seconds) + 1)
  end
  return state
end

--- The fencing token of the present or last acquisition, or nil, message, code ("not_held", "range").
function Lock:token()
  return self._core:token()
end

function Lock:token_string()
  return self._core:token_string()
end

Lock.id = Lock.name

--- The value others see beside this holder, as it was given.
function Lock:value()
  if self._value ~= nil then
    return self._value
  end
  return self._default_value
end

--- Who holds it: {id, value, token, token_string, since}; nil, message, "vacant" when nobody does.
function Lock:holder(given)
  local entries, message, code = holding.queue(self, "holder", given, 1) -- who holds comes first
  if not entries then
    return nil, message, code
  end
  for _, entry in ipairs(entries) do
    if entry.holds then
      return holding.peer(entry)
    end
  end
  return nil, 'nobody holds lock "' .. self:name() .. '"', "vacant"
end

--- Who waits for it, in order.
function Lock:waiters(given)
  local entries, message, code = holding.queue(self, "waiters", given)
  if not entries then
    return nil, message, code
  end
  local list = {}
  for _, entry in ipairs(entries) do
    if not entry.holds then
      list[#list + 1] = holding.peer(entry)
    end
  end
  return list
end

local FOR_EVER = -1

--- Acquires, and after every loss acquires again, until run:stop(). Options: on_acquired and on_revoked (functions that
--- get (lock, run)), value, hold, retry_interval, cancel.
function Lock:keep(given)
  local opts = options.check("keep", given, "keep")
  local wanted = options.for_acquire("keep", { hold = opts.hold, value = opts.value }, self._raw)
  wanted.wait = FOR_EVER
  return require("dsync.keep").loop {
    client = self._client,
    cancel = opts.cancel,
    retry_interval = opts.retry_interval or self._retry_interval,
    where = 'keep of lock "' .. self:name() .. '"',
    on_gained = opts.on_acquired,
    on_lost = opts.on_revoked,
    gain = function(cancel)
      local ok, message, code = waiting.perform(self._client, cancel, self._core, "acquire", wanted)
      if not ok then
        return nil, message, code
      end
      self._value = opts.value
      return self
    end,
    give_up = function()
      return self:release()
    end,
  }
end

--------------------------------------------------------------------------------------------------------------- making

--- The parts that locks and candidates share. `make` is the name of the core's constructor.
function lock.build(class, make, client, name, given)
  local what = class._what
  if type(name) ~= "string" then
    errors.argument(what, "name", "a string", name)
  elseif name:find("\0", 1, true) then
    errors.raise(what .. ": name must not contain a zero byte")
  end
  local opts = options.check(what, given, what)
  local core, message, code = client._core[make](client._core, name, options.for_lock(what, opts, client._given))
  if not core then
    if code == "invalid" then
      errors.raise(what .. ": " .. message)
    end
    return nil, message, code
  end
  local default = opts.value
  if default == nil then
    default = client._given.value
  end
  local raw = opts.raw
  if raw == nil then
    raw = client._given.raw
  end
  return setmetatable({
    _client = client,
    _core = core,
    _slot = revoke.new(client, core),
    _default_value = default,
    _raw = raw,
    _retry_interval = opts.retry_interval or client._given.retry_interval,
  }, class)
end

function lock.new(client, name, given)
  return lock.build(Lock, "lock", client, name, given)
end

------------------------------------------------------------------------------------------------------------ with_lock

-- What fn did under the lock counts, even if nobody can say yet whether the release has arrived.
local function finish(one, acquisition, ok, ...)
  local released, message, code = one:release()
  if not ok then
    error((...), 0)
  elseif released then
    return ...
  end
  local reason = one._core:acquisition() == acquisition and one._core:lost_reason()
  if reason or code == "lost" then
    message = 'lock "' .. one:name() .. '" was lost' .. (reason and " (" .. reason .. ")" or "")
      .. " before the function returned: somebody else may have held it meanwhile"
    return nil, message, "lost"
  elseif code == "not_held" or code == "closed" then
    return ... -- fn released it
  elseif code == "unknown" then
    dispatch.emit(one._client, { type = "release_unknown", message = message })
    return ...
  end
  return nil, message, code
end

--- Runs fn(lock, ...) while holding the lock `one`, which nobody else uses.
function lock.with(one, acquire_options, fn, ...)
  local held, message, code = one:acquire(acquire_options)
  if not held then
    return nil, message, code
  end
  return finish(one, one._core:acquisition(), protect.call(fn, one, ...))
end

return lock
