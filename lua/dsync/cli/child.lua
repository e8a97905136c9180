-- child.lua: a program that runs while something is held: started, signalled, stopped when the hold is lost, reaped.
--
-- Whatever happens to this process, the program does not outlive the lease: the kernel kills it when we die, and the
-- warden (see csrc/command/warden.c) kills its group when we die or are stopped for too long.

local codes = require "dsync.cli.codes"
local process = require "dsync.process"

local max, min, setmetatable, tostring = math.max, math.min, setmetatable, tostring

local child = {}

local KILL_AFTER = 10 -- seconds from TERM to KILL, when the lease leaves that much
local RESERVE, LEAST_RESERVE = 0.2, 0.2 -- of the margin, and in seconds: for the killing itself
local LONGEST_TICK = 5

local Child = {}
Child.__index = Child

local function now()
  local _, since_boot = process.clock()
  return since_boot
end

local FORWARDED = {
  TERM = true, INT = true, HUP = true, QUIT = true, USR1 = true, USR2 = true, WINCH = true, ALRM = true, CONT = true,
}

--- Sends a signal to everybody in the program's group (or the program alone, if it has none of its own).
function Child:signal(name)
  return process.kill(self.target, name)
end

-- For how long after the loss the lease certainly lasts, less what it takes to kill a program on a busy machine.
local function room(hold)
  local margin = hold:margin()
  return max(0, margin - max(margin * RESERVE, LEAST_RESERVE))
end

-- How long the program may run if nothing more is heard of us: until shortly before the lease can end.
local function limit_of(hold, on_lost)
  return on_lost ~= "ignore" and hold:valid_for() + room(hold) or nil
end

local function set_limit(self)
  if not self.lost then
    process.limit(limit_of(self.hold, self.on_lost))
  end
end

local function on_lost(self, reason)
  self.lost = reason or "lost"
  self.tell("lost", self.lost, self.on_lost)
  if self.on_lost == "ignore" then
    return
  elseif self.on_lost == "kill" then
    self:signal "KILL"
    return
  end
  local grace = min(self.kill_after, room(self.hold))
  process.limit(grace)
  self.kill_at = now() + grace
  self:signal "TERM"
  self:signal "CONT" -- a stopped one would not notice
end

-- The terminal stopped the program: this process stops with it, so that the shell goes on; and when it is continued,
-- the program is continued only if the hold has lasted.
local function stop_along(self)
  if self.has_terminal then
    process.give_terminal()
  end
  process.kill(process.pid(), "STOP")
end

local function continue_along(self)
  if self.has_terminal and not self.lost then
    process.give_terminal(self.pid)
  end
  if self.hold:held() or self.on_lost == "ignore" then
    set_limit(self)
    self:signal "CONT"
  end
end

local function on_signal(self, name, from_terminal)
  if name == "CHLD" then
    local how, number = process.reap(self.pid)
    if how == "stopped" then
      stop_along(self)
    elseif how then
      self.ended, self.number = how, number
    end
  elseif name == "TSTP" then
    if self.own_group then
      self:signal "STOP"
    end
  elseif name == "CONT" then
    continue_along(self)
  elseif FORWARDED[name] and (self.own_group or not from_terminal) then
    self.terms = self.terms + (name == "TERM" and 1 or 0)
    self:signal(self.terms > 1 and "KILL" or name)
  end
end

local function tick(self)
  local seconds = min(LONGEST_TICK, max(0.05, self.ttl / 20))
  if self.kill_at then
    seconds = min(seconds, max(0, self.kill_at - now()))
  end
  return seconds
end

local function step(self, loop)
  local kind, one, _, from_terminal = loop:next(tick(self))
  if kind == "signal" then
    on_signal(self, one, from_terminal)
  elseif kind == "lost" and not self.lost then
    on_lost(self, one)
  end
  if not self.lost and not self.hold:held() then
    on_lost(self, self.hold:revoked(0))
  end
  if self.kill_at and now() >= self.kill_at then
    self.kill_at = nil
    self:signal "KILL"
  end
  set_limit(self)
end

--- Follows the program to its end: its exit code, and why the hold was lost meanwhile (or nil).
function Child:wait(loop)
  self.hold:on_revoked(function(_, reason)
    loop:push("lost", reason)
  end)
  while not self.ended do
    step(self, loop)
  end
  if self.lost and self.on_lost ~= "ignore" and self.own_group then
    self:signal "KILL" -- what it has left behind in its group
  end
  process.dismiss()
  if self.has_terminal then
    process.give_terminal()
  end
  return self.ended == "killed" and codes.signal + self.number or self.number, self.lost
end

local function environment(hold, ttl)
  return {
    "DSYNC_LOCK=" .. hold:name(),
    "DSYNC_TOKEN=" .. hold:token_string(),
    "DSYNC_KEY=" .. hold:key(),
    "DSYNC_TTL=" .. ("%.15g"):format(ttl),
  }
end

local CANNOT = { missing = codes.not_found, refused = codes.cannot_execute }

--- Starts a program under `hold`. spec: arguments, on_lost, kill_after, foreground, ttl, tell(kind, ...). A Child, or
--- nil, exit code, message.
function child.start(hold, spec)
  local own_group = not spec.foreground
  local has_terminal = own_group and process.has_terminal()
  local pid, message, why = process.spawn(spec.arguments, environment(hold, spec.ttl), {
    group = own_group, terminal = has_terminal, limit = limit_of(hold, spec.on_lost),
  })
  if not pid then
    return nil, CANNOT[why] or codes.cannot_execute, "cannot run " .. tostring(message)
  end
  return setmetatable({
    hold = hold, pid = pid, target = own_group and -pid or pid, own_group = own_group, has_terminal = has_terminal,
    on_lost = spec.on_lost or "term", kill_after = spec.kill_after or KILL_AFTER, ttl = spec.ttl, tell = spec.tell,
    terms = 0,
  }, Child)
end

return child
