-- local.lua BARE_FLOCK: what an uncontended acquire and release costs through this Lua on local:, beside memory: and
-- beside bare system calls (flock), in turns, so that all see the same machine. DSYNC_LONG=1: longer, and with a bound.
local dsync = require "dsync"
local now = require("dsync.core").now

local bare = assert(arg[1], "usage: local.lua PATH/bare_flock")
local long = (os.getenv "DSYNC_LONG" or "0") ~= "0"
local rounds, count = long and 9 or 5, long and 20000 or 2000
local file = os.tmpname()
os.remove(file)
local folder = file .. ".d"
assert(os.execute(("mkdir -m 700 '%s'"):format(folder)))

local function lock_of(url)
  local client = assert(dsync.open(url))
  return client:lock "bench", client
end

-- How long this thread has waited for a processor that others had.
local function queued()
  local stat = io.open "/proc/thread-self/schedstat"
  if not stat then return 0 end
  local _, ns = stat:read("n", "n")
  stat:close()
  return (ns or 0) / 1e9
end

-- Cycles per second, the same without the time that others had the processor, and processor time of one in
-- microseconds.
local function cycles(lock, n)
  local began, cpu, before = now(), os.clock(), queued()
  for _ = 1, n do
    assert(lock:acquire())
    assert(lock:release())
  end
  local took = now() - began
  return n / took, n / (took - queued() + before), (os.clock() - cpu) / n * 1e6
end

local function flocks(n)
  local pipe = assert(io.popen(("'%s' '%s/flock' %d"):format(bare, folder, n)))
  local rate = assert(tonumber(pipe:read "l"), "bare_flock failed")
  pipe:close()
  return rate
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local on_file, client = lock_of("local:" .. folder .. "/locks.db")
local in_memory, other = lock_of "memory:"
cycles(on_file, 200)
cycles(in_memory, 200)
local rates, alone, cpus, memory, memory_alone, flock = {}, {}, {}, {}, {}, {}
for i = 1, rounds do
  rates[i], alone[i], cpus[i] = cycles(on_file, count)
  memory[i], memory_alone[i] = cycles(in_memory, count * 5)
  flock[i] = flocks(count * 5)
end
client:close()
other:close()
assert(os.execute(("rm -rf '%s'"):format(folder)))

-- A machine that others slow down slows bare flock too; a good one does some 270 000 of these.
local rate, bare_rate = median(alone), median(flock)
local goal = math.min(20000, bare_rate / 14)
local good = not long or rate >= goal
print(("%s local: acquire and release, on a processor of its own: %.0f cycles/s%s"):format(
  good and "ok    " or "FAILED", rate, long and (" (at least %.0f)"):format(goal) or ""))
print(("       local: acquire and release, on this machine now: %.0f cycles/s"):format(median(rates)))
print(("       local: processor time of a cycle: %.1f us"):format(median(cpus)))
print(("       memory: acquire and release, on a processor of its own: %.0f cycles/s"):format(median(memory_alone)))
print(("       memory: acquire and release, on this machine now: %.0f cycles/s"):format(median(memory)))
print(("       bare flock, lock and unlock, on this machine now: %.0f cycles/s"):format(bare_rate))
print(good and "1 passed, 0 failed" or "0 passed, 1 failed")
os.exit(good)
