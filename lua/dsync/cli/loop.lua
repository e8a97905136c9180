-- loop.lua: what happens to the command, one thing after the other: signals, and what other coroutines report.
--
-- Signals are read from a descriptor, so nothing is ever interrupted; all decisions are taken by whoever asks next().

local dsync = require "dsync"
local process = require "dsync.process"
local scheduler = require "dsync.scheduler"

local setmetatable = setmetatable

local loop = {}

local Loop = {}
Loop.__index = Loop

-- Those that end a program, those that a child may want to have, and news of the child.
local TAKEN = { "TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "WINCH", "TSTP", "CONT", "CHLD", "ALRM" }

local LONGEST_SLEEP = 30 -- seconds

local ENDING = { TERM = true, INT = true, HUP = true, QUIT = true }

--- Reports something: { kind, ... }.
function Loop:push(...)
  self.last = self.last + 1
  self.events[self.last] = { ... }
  self.waiter:wake()
end

local function read_signals(self)
  local name, number, from_terminal = process.next_signal()
  while name do
    self:push("signal", name, number, from_terminal)
    name, number, from_terminal = process.next_signal()
  end
end

--- The next event: kind, and what belongs to it ("signal": name, number, whether the terminal sent it); nil after
--- `seconds` without one.
function Loop:next(seconds)
  if self.first > self.last then
    read_signals(self)
  end
  if self.first > self.last then
    self.waiter:wait(seconds)
  end
  local event = self.events[self.first]
  if not event then
    return nil
  end
  self.events[self.first] = nil
  self.first = self.first + 1
  return event[1], event[2], event[3], event[4]
end

--- Whether a signal asks this program to end.
function loop.is_ending(name)
  return ENDING[name] == true
end

--- Takes the signals over. To be called before a client is opened.
function loop.open()
  local self = setmetatable({ events = {}, first = 1, last = 0, waiter = scheduler.waiter() }, Loop)
  local fd, message = process.take(TAKEN)
  if not fd then
    error(message, 0)
  end
  scheduler.slice(LONGEST_SLEEP)
  scheduler.attach(fd, function()
    read_signals(self)
  end)
  return self
end

--- Runs main(loop) where calls of dsync wait without stopping anything else, and ends the process with the code that it
--- returns, whatever else still waits.
function loop.run(main)
  local self = loop.open()
  dsync.run(function()
    process.exit(main(self))
  end)
end

return loop
