-- trial.lua: a real lock, taken and given back, and handed from one client to another: permissions and latencies.

local dsync = require "dsync"
local faults = require "dsync.cli.doctor.faults"
local process = require "dsync.process"

local format = string.format

local trial = {}

local ROUNDS = 5
local PATIENCE = 4

local function now()
  local _, since_boot = process.clock()
  return since_boot
end

local function median(list)
  table.sort(list)
  return list[math.floor((#list + 1) / 2)]
end

local function milliseconds(seconds)
  return format("%.2f ms", seconds * 1000)
end

-- Seconds for acquiring and releasing once, or nil, message, code.
local function cycle(client, name)
  local begun = now()
  local lock, message, code = client:acquire(name, { wait = PATIENCE })
  if not lock then
    return nil, message, code
  end
  local ok
  ok, message, code = lock:release()
  if not ok then
    return nil, message, code
  end
  return now() - begun
end

-- Seconds from the release by one client to the moment at which another, which waited, has it.
local function hand_over(client, other, name)
  local lock, message, code = client:acquire(name, { wait = PATIENCE })
  if not lock then
    return nil, message, code
  end
  local done, got_at = false, nil
  dsync.spawn(function()
    local next_lock
    next_lock, message, code = other:acquire(name, { wait = PATIENCE })
    got_at = next_lock and now()
    done = true
    if next_lock then
      next_lock:release()
    end
  end)
  dsync.sleep(0.2) -- until it waits
  local released_at = now()
  lock:release()
  while not done do
    dsync.sleep(0.002)
  end
  if not got_at then
    return nil, message, code
  end
  return math.max(0, got_at - released_at)
end

--- Findings of trying locks through two clients. `ttl` in seconds: what the latencies are judged by. `anonymous`: see
--- faults.of().
function trial.run(client, other, ttl, anonymous)
  local function failed(check, message, code)
    return { faults.finding(check, nil, faults.of(message, code, anonymous), message) }
  end
  local name = "dsync-doctor-" .. process.pid()
  local times = {}
  for i = 1, ROUNDS do
    local seconds, message, code = cycle(client, name)
    if not seconds then
      return failed("lock", message, code)
    end
    times[i] = seconds
  end
  local middle = median(times)
  local detail = "acquired and released in " .. milliseconds(middle) .. " (median of " .. ROUNDS .. ")"
  local lock = faults.fine("lock", nil, detail)
  if middle > ttl / 8 then
    lock = faults.finding("lock", nil, "slow", detail, "warn")
  end
  local seconds, message, code = hand_over(client, other, name)
  if not seconds then
    return { lock, failed("watch", message, code)[1] }
  end
  local watch = faults.fine("watch", nil, "a waiter had the lock " .. milliseconds(seconds) .. " after its release")
  if seconds > 1 then
    watch = faults.finding("watch", nil, "proxy", "a waiter had to wait " .. milliseconds(seconds)
      .. " after the release: changes do not come through as they happen", "warn")
  end
  return { lock, watch }
end

return trial
