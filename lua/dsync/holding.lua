-- holding.lua: what a held lock and an elected leader have in common: questions, loss, guarded writes.
--
-- Works on objects with _core, _client, _slot, _what ("lock", "leadership") and the method _acq(), the number of the
-- acquisition that the object speaks for.

local check = require "dsync.check"
local errors = require "dsync.errors"
local guard = require "dsync.guard"
local options = require "dsync.options"
local waiting = require "dsync.waiting"

local error, pairs = error, pairs

local holding = {}

local methods = {}

-- Whether the core's present or last acquisition is the one this object speaks for.
local function is_current(self)
  return self._core:acquisition() == self:_acq()
end

-- Whether a guarded write has a chance; the server has the last word.
local function may_write(self)
  return self:_acq() > 0 and is_current(self)
end

local function title(self)
  return self._what .. ' "' .. self:name() .. '"'
end

--- Why this object's acquisition was lost, or nil: for the messages here and in other files.
function holding.lost_reason(self)
  if self._reason then
    return self._reason
  end
  return is_current(self) and self._core:lost_reason() or nil
end

--- nil, message, code for a call that needs a hold that is not there.
function holding.not_held(self)
  local reason = holding.lost_reason(self)
  if reason then
    return nil, title(self) .. " was lost (" .. reason .. ")", "lost"
  end
  return nil, title(self) .. " is not held", "not_held"
end

--- Whether it is held, decided by this process's clock at this moment.
function methods:held()
  return is_current(self) and self._core:held()
end

--- Seconds for which it can still be held if nothing is heard from the server; 0 when it is not held.
function methods:valid_for()
  return is_current(self) and self._core:valid_for() or 0
end

--- Seconds for which the server keeps the lease after held() has turned false because nothing was heard from it: the
--- time in which work can still be stopped before somebody else may begin. 0 before the first acquisition.
function methods:margin()
  return self._core:margin()
end

function methods:name()
  return self._core:name()
end

function methods:key()
  return self._core:key()
end

--- Raises an error with code "lost" or "not_held" unless held.
function methods:check()
  if not self:held() then
    local _, message, code = holding.not_held(self)
    if code == "lost" then
      guard.raised(self)
    end
    error(errors.failure(message, code, self, holding.lost_reason(self)), 0)
  end
end

--- Runs fn(...) and returns its results; stops it with an error when the lock is lost meanwhile, even in a busy loop:
--- then nil, message, "lost". fn's own errors are raised.
function methods:guard(fn, ...)
  check.callable("guard", "fn", fn)
  if not self:held() then
    return holding.not_held(self)
  end
  return guard.run(self, fn, ...)
end

-- Why and how the acquisition was lost, for guard.lua: reason (or nil), message.
function methods:_loss()
  local reason = holding.lost_reason(self)
  return reason, title(self) .. " was lost" .. (reason and " (" .. reason .. ")" or "")
end

function methods:put(key, value, given)
  check.text("put", "key", key)
  if type(value) ~= "string" then
    errors.argument("put", "value", "a string", value)
  end
  local opts = options.check("put", given, "cancel")
  if not may_write(self) then
    return holding.not_held(self)
  end
  return waiting.perform(self._client, opts.cancel, self._core, "put", key, value)
end

function methods:delete(key, given)
  check.text("delete", "key", key)
  local opts = options.check("delete", given, "cancel")
  if not may_write(self) then
    return holding.not_held(self)
  end
  return waiting.perform(self._client, opts.cancel, self._core, "delete", key)
end

--- fn(object, reason), once, when it is lost; at once when it is lost already.
function methods:on_revoked(fn)
  check.callable("on_revoked", "fn", fn)
  local reason, acquisition = holding.lost_reason(self), self:_acq("next")
  if reason and not self._core:held() and acquisition == self:_acq() then
    self._slot:call(self, fn, reason)
  else
    self._slot:add(self, acquisition, fn)
  end
  return self
end

--- Waits until it is lost: the reason; "released" after a release; nil, message, "timeout".
function methods:revoked(given)
  local timeout, cancel = options.timeout("revoked", given)
  if self:_acq() == 0 then
    return holding.not_held(self)
  elseif not is_current(self) then
    return self._reason or "released"
  end
  local core = self._core
  local op, message, code = waiting.call(self._client, cancel, core, "revoked", timeout)
  if op then
    op:free()
    return "released"
  end
  local state = core:state()
  local reason = code == "closed" and holding.lost_reason(self)
  if code == "lost" then
    return message -- the reason; a callback may have acquired it again, and the core has forgotten the loss
  elseif reason then
    return reason
  elseif code == "not_held" and (state == "idle" or state == "releasing") then
    return "released"
  end
  return nil, message, code
end

--- Gives a class the methods of this file.
function holding.install(class)
  for name, method in pairs(methods) do
    class[name] = method
  end
end

-------------------------------------------------------------------------------------------------------- lists of peers

--- What others may know of an entry: id, value, token, token_string, since (seconds since 1970), and `extra` fields.
function holding.peer(entry, extra)
  options.decode_value(entry)
  local peer = extra or {}
  peer.id, peer.value = entry.id, entry.value
  peer.token, peer.token_string = entry.token, entry.token_string
  peer.since = entry.acquired_at or entry.queued_at
  return peer
end

--- The entries of an object's queue, at most `limit` (nil: all), or nil, message, code.
function holding.queue(self, call, given, limit)
  local opts = options.check(call, given, "cancel")
  local op, message, code = waiting.call(self._client, opts.cancel, self._core, "queue", limit)
  if not op then
    return nil, message, code
  end
  local entries = op:entries()
  op:free()
  return entries
end

return holding
