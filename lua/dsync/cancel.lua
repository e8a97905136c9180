-- cancel.lua: cancellers: `c = dsync.canceller()`, passed as `cancel = c` to calls that wait, ended by `c:cancel()`.
--
-- A canceller knows only functions to call; what they end is dispatch.lua's business.

local setmetatable, next, pairs = setmetatable, next, pairs

local cancel = {}

local Canceller = { __name = "dsync.canceller" }
Canceller.__index = Canceller

function Canceller:__tostring()
  return "dsync canceller (" .. (self._cancelled and "cancelled" or "ready") .. ")"
end

--- Ends every call this canceller was passed to, now and later, with nil, message, "cancelled".
function Canceller:cancel()
  self._cancelled = true
  local hooks = self._hooks
  self._hooks = {}
  for hook in pairs(hooks) do
    hook()
  end
end

--- Whether cancel() was called.
function Canceller:cancelled()
  return self._cancelled
end

-- `hook` runs once, at cancel(), unless it is removed before. When that has happened already, it runs now.
function Canceller:add_hook(hook)
  if self._cancelled then
    hook()
  else
    self._hooks[hook] = true
  end
end

function Canceller:remove_hook(hook)
  self._hooks[hook] = nil
end

-- Whether nobody waits on it: for tests of tidiness.
function Canceller:idle()
  return next(self._hooks) == nil
end

function cancel.new()
  return setmetatable({ _cancelled = false, _hooks = {} }, Canceller)
end

cancel.MESSAGE = "the wait was cancelled"

return cancel
