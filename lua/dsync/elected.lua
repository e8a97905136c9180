-- elected.lua: Elected, one term of leadership. A later term of the same candidate is another object; this one stays
-- over.

local check = require "dsync.check"
local errors = require "dsync.errors"
local holding = require "dsync.holding"
local options = require "dsync.options"
local waiting = require "dsync.waiting"

local setmetatable, type = setmetatable, type

local elected = {}

local Elected = { __name = "dsync.elected", _what = "leadership" }
Elected.__index = Elected
holding.install(Elected)

function Elected:__tostring()
  return 'dsync leadership "' .. self:name() .. '" (' .. (self:held() and "held" or "over") .. ")"
end

function Elected:_acq()
  return self._acquisition
end

-- Before another term begins: how this one ended, if it has, is kept here; the core will forget it.
function Elected:_remember()
  self._reason = self._reason or self._core:lost_reason()
end

--- The fencing token of this term.
function Elected:token()
  local token = self._token
  if token then
    return token
  end
  return nil, self._token_problem, "range"
end

function Elected:token_string()
  return self._token_string
end

--- This node's name in the election.
function Elected:id()
  return self._leader:id()
end

--- The value others see beside the leader, as it was given.
function Elected:value()
  return self._value
end

--- Gives the leadership up: true, or nil, message, code ("lost", "not_held", "unknown").
function Elected:resign(given)
  local opts = options.check("resign", given, "cancel")
  local core = self._core
  if core:acquisition() ~= self._acquisition then
    return holding.not_held(self)
  end
  local ok, message, code = waiting.perform(self._client, opts.cancel, core, "release")
  self._slot:released(core, self._acquisition)
  return ok, message, code
end

Elected.release = Elected.resign

--- Replaces the value that others see: true, or nil, message, code.
function Elected:proclaim(value, given)
  if type(value) ~= "string" and type(value) ~= "table" then
    errors.argument("proclaim", "value", "a string or a table", value)
  end
  local opts = options.check("proclaim", given, "cancel")
  local text, is_json = options.encode_value("proclaim", value, self._leader._raw)
  if self._core:acquisition() ~= self._acquisition then
    return holding.not_held(self)
  end
  local ok, message, code = waiting.perform(self._client, opts.cancel, self._core, "proclaim", text, is_json)
  if ok then
    self._value = value
  end
  return ok, message, code
end

--- fn(elected, reason), once, when this term is lost; at once when it is lost already.
function Elected:on_revoked(fn)
  check.callable("on_revoked", "fn", fn)
  local reason = holding.lost_reason(self)
  if reason and not self:held() then
    self._slot:call(self, fn, reason)
  elseif self._core:acquisition() == self._acquisition then
    self._slot:add(self, self._acquisition, fn)
  end
  return self
end

-- Lua 5.4, `local e <close> = ...`: must not wait.
function Elected:__close()
  if self:held() then
    self._slot:drop(self._acquisition)
    local op = self._core:release()
    if op then
      op:free()
    end
  end
end

--- The term that the candidate `leader` has just won.
function elected.new(leader, value)
  local core = leader._core
  local token, problem = core:token()
  if value == nil then
    value = leader._default_value
  end
  return setmetatable({
    _client = leader._client,
    _core = core,
    _slot = leader._slot,
    _leader = leader,
    _acquisition = core:acquisition(),
    _token = token,
    _token_problem = problem,
    _token_string = core:token_string(),
    _value = value,
  }, Elected)
end

return elected
