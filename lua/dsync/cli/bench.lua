-- bench.lua: `dsync bench`: how fast locks are here: acquire and release alone, and handed over between two processes.

local args = require "dsync.cli.args"
local codes = require "dsync.cli.codes"
local columns = require "dsync.cli.columns"
local look = require "dsync.cli.look"
local process = require "dsync.process"
local say = require "dsync.cli.say"
local settings = require "dsync.cli.settings"

local arg, io, ipairs, tonumber, tostring = arg, io, ipairs, tonumber, tostring
local ceil, floor, format, max = math.ceil, math.floor, string.format, math.max

local PATIENCE = 4.5
local REDRAW = 0.2

local bench = {
  summary = "measure rates and latencies of locks here",
  usage = "[OPTION...]",
  options = {
    { name = "seconds", kind = "seconds", value = "S", help = "how long each of the two parts takes (3)" },
    { name = "ttl", kind = "seconds", value = "S", help = "of the locks (15)" },
    { name = "name", kind = "text", value = "NAME", help = "of the lock that is used (dsync-bench-PID)" },
    look.json,
  },
  hidden = { { name = "peer", kind = "seconds" } },
  text = [[
Acquires and releases a lock over and over, then hands one over between two processes, each of which waits while the
other holds. Prints rates, and latencies of which half, 90 and 99 of 100 were shorter.]],
  examples = { { "dsync bench --url etcd://127.0.0.1:2379 --seconds 10", "what this server can do" } },
}

local function now()
  local _, since_boot = process.clock()
  return since_boot
end

------------------------------------------------------------------------------------------------------------ progress

-- A function that redraws a line on a terminal from time to time, and wipes it when called without text.
local function progress_line()
  if not process.isatty(2) then
    return function() end
  end
  local next_at = 0
  return function(text, ...)
    if not text then
      io.stderr:write "\r\27[K"
    elseif now() >= next_at then
      next_at = now() + REDRAW
      io.stderr:write("\r", format(text, ...), "\27[K")
    end
  end
end

------------------------------------------------------------------------------------------------------------- measures

local function fail(message, code)
  say.message(message)
  process.exit(codes.of(code))
end

local function part(sorted, share)
  return sorted[max(1, ceil(#sorted * share))] * 1000
end

-- A list of seconds, and how long it took to collect it, as what is shown of it.
local function measure(name, list, seconds)
  table.sort(list)
  local one = { name = name, count = #list, rate = #list / seconds }
  if #list > 0 then
    one.p50, one.p90, one.p99, one.max = part(list, 0.5), part(list, 0.9), part(list, 0.99), part(list, 1)
  end
  return one
end

-- Acquires and releases for `seconds`.
local function cycles(client, name, seconds)
  local lock, show = settings.checked(client.lock, client, name), progress_line()
  local acquire, release = {}, {}
  local begun = now()
  local released_at = begun
  while released_at < begun + seconds do
    local asked_at = now()
    local ok, message, code = lock:acquire { wait = PATIENCE }
    local held_at = now()
    if ok then
      ok, message, code = lock:release()
    end
    if not ok then
      show()
      fail(message, code)
    end
    released_at = now()
    acquire[#acquire + 1], release[#release + 1] = held_at - asked_at, released_at - held_at
    show("%d cycles, %.0f per second, %.0f s left", #acquire, #acquire / (released_at - begun),
      begun + seconds - released_at)
  end
  show()
  local took = released_at - begun
  return measure("acquire", acquire, took), measure("release", release, took)
end

-------------------------------------------------------------------------------------------------------- handing over

-- Takes turns with another process for `seconds`, holding each time for `hold`; told(token, held at, released at).
local function take_turns(client, name, seconds, hold, told)
  local lock = settings.checked(client.lock, client, name .. "-handover")
  local dsync = require "dsync"
  local ends_at = now() + seconds
  while now() < ends_at do
    local ok, message, code = lock:acquire { wait = PATIENCE }
    if not ok then
      return code == "timeout" or fail(message, code)
    end
    local held_at = now()
    dsync.sleep(hold)
    local released_at = now()
    lock:release()
    told(lock:token_string(), held_at, released_at)
  end
end

local function quoted(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

-- The command line that runs this very command again, with further words.
local function again(words, more)
  local first, line = 0, {}
  while arg[first - 1] do
    first = first - 1
  end
  for i = first, 0 do
    line[#line + 1] = quoted(arg[i])
  end
  line[#line + 1] = "bench"
  for _, list in ipairs { words, more } do
    for _, word in ipairs(list) do
      line[#line + 1] = quoted(word)
    end
  end
  return table.concat(line, " ")
end

local function later(a, b)
  return #a[1] == #b[1] and a[1] < b[1] or #a[1] < #b[1] -- digits of tokens
end

local function latencies(turns)
  table.sort(turns, later)
  local list = {}
  for i = 2, #turns do
    local before, this = turns[i - 1], turns[i]
    if before[4] ~= this[4] then
      list[#list + 1] = max(0, this[2] - before[3])
    end
  end
  return list
end

local function hand_over(client, name, seconds, hold, words)
  local line = again(words, { "--name", name, "--seconds", tostring(seconds), "--peer", tostring(hold) })
  local peer, problem = io.popen(line)
  if not peer then
    return nil, problem
  end
  peer:read "*l" -- it is there
  local turns, show, begun = {}, progress_line(), now()
  take_turns(client, name, seconds, hold, function(token, held_at, released_at)
    turns[#turns + 1] = { token, held_at, released_at, "here" }
    show("handing over, %.0f s left", begun + seconds - released_at)
  end)
  show()
  for text in peer:lines() do
    local token, held_at, released_at = text:match "^(%d+) ([%d.]+) ([%d.]+)$"
    if token then
      turns[#turns + 1] = { token, tonumber(held_at), tonumber(released_at), "there" }
    end
  end
  peer:close()
  return measure("handover", latencies(turns), seconds)
end

-- The other process.
local function be_peer(client, name, seconds, hold)
  say.line "ready"
  local lines = {}
  take_turns(client, name, seconds, hold, function(token, held_at, released_at)
    lines[#lines + 1] = format("%s %.9f %.9f", token, held_at, released_at)
  end)
  say.line(table.concat(lines, "\n"))
end

------------------------------------------------------------------------------------------------------------- printing

local function number(value)
  return value and format(value < 10 and "%.3f" or value < 1000 and "%.1f" or "%.0f", value) or "-"
end

local function show_all(opts, list)
  local rows = {}
  for i, one in ipairs(list) do
    if opts.json then
      local function digits(value)
        return value and say.digits(format("%.6g", value))
      end
      say.line(say.record {
        { "measure", one.name }, { "count", one.count }, { "per_second", digits(one.rate) },
        { "p50_ms", digits(one.p50) }, { "p90_ms", digits(one.p90) }, { "p99_ms", digits(one.p99) },
        { "max_ms", digits(one.max) },
      })
    end
    rows[i] = {
      one.name, format("%d", one.count), number(one.rate), number(one.p50), number(one.p90), number(one.p99),
      number(one.max),
    }
  end
  if not opts.json then
    columns.print({ "MEASURE", "COUNT", "PER SECOND", "P50 MS", "P90 MS", "P99 MS", "MAX MS" }, rows)
  end
end

function bench.main(opts, rest, words)
  if rest[1] then
    args.fail("bench takes no " .. rest[1])
  end
  local client, message, code = settings.open(opts, { ttl = opts.ttl })
  local server
  if client then
    server, message, code = client:ping(PATIENCE)
  end
  if not server then
    fail(message, code)
  end
  local name, seconds = opts.name or "dsync-bench-" .. process.pid(), opts.seconds or 3
  if opts.peer then
    be_peer(client, name, seconds, opts.peer)
    client:close()
    return codes.ok
  end
  local acquire, release = cycles(client, name, seconds)
  local list = { acquire, release }
  if client:backend() ~= "memory" then -- nobody else sees that
    -- Long enough for the other one to be waiting again.
    local hold = max(0.002, 4 * (acquire.p50 + release.p50) / 1000)
    list[3] = hand_over(client, name, seconds, floor(hold * 1e6) / 1e6, words)
  end
  show_all(opts, list)
  client:close()
  return codes.ok
end

return bench
