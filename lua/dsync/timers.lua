-- timers.lua: a heap of (time, item) pairs, earliest first. Knows no clock.

local floor, setmetatable = math.floor, setmetatable

local timers = {}

local Timers = {}
Timers.__index = Timers

local function swap(heap, i, j)
  heap[i], heap[j] = heap[j], heap[i]
  heap[i].at, heap[j].at = i, j
end

local function up(heap, i)
  while i > 1 and heap[i].time < heap[floor(i / 2)].time do
    swap(heap, i, floor(i / 2))
    i = floor(i / 2)
  end
end

local function down(heap, i)
  while true do
    local least = i
    for child = 2 * i, 2 * i + 1 do
      if heap[child] and heap[child].time < heap[least].time then
        least = child
      end
    end
    if least == i then
      return
    end
    swap(heap, i, least)
    i = least
  end
end

--- Adds `item` for `time`; returns what remove() takes.
function Timers:add(time, item)
  local timer = { time = time, item = item, at = #self + 1 }
  self[timer.at] = timer
  up(self, timer.at)
  return timer
end

--- Takes a timer out; harmless when it is out already.
function Timers:remove(timer)
  local at = timer.at
  if not at then
    return
  end
  local count = #self
  swap(self, at, count)
  self[count] = nil
  timer.at = nil
  if self[at] then
    up(self, at)
    down(self, at)
  end
end

--- The earliest time, or nil.
function Timers:next()
  return self[1] and self[1].time
end

--- Takes out the item of the earliest timer if its time has come by now(), or returns nil.
function Timers:take_due(now)
  local timer = self[1]
  if timer and timer.time <= now() then
    self:remove(timer)
    return timer.item
  end
end

function timers.new()
  return setmetatable({}, Timers)
end

return timers
