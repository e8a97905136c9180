-- doctor.lua: `dsync doctor`: is everything there that locks need, and if not, what to do.

local codes = require "dsync.cli.codes"
local dsync = require "dsync"
local faults = require "dsync.cli.doctor.faults"
local look = require "dsync.cli.look"
local process = require "dsync.process"
local say = require "dsync.cli.say"
local settings = require "dsync.cli.settings"

local ipairs, pairs, tostring, type = ipairs, pairs, tostring, type
local format = string.format

local PATIENCE = 2.5
local PINGS = 5

local doctor = {
  summary = "find out what is wrong, and what to do about it",
  usage = "[OPTION...]",
  options = { { name = "ttl", kind = "seconds", value = "S", help = "the ttl that you mean to use (15)" }, look.json },
  text = [[
Looks at every endpoint (does anything listen, is it the right server, TLS, credentials, leader, version), takes and
hands over a lock of its own (permissions, latencies), and watches the clock. Each fault comes with advice. Exit code 0
without faults (warnings are none); else that of the first one: 69, 71, 77 or 78.]],
  examples = { { "dsync doctor --url etcd://10.0.0.1,10.0.0.2,10.0.0.3:2379", "before anybody relies on it" } },
}

------------------------------------------------------------------------------------------------------------- printing

local MARKS = { ok = "ok  ", warn = "WARN", fail = "FAIL" }

local function reporter(opts)
  local seen = { fail = 0, warn = 0 }
  local function report(finding)
    seen[finding.status] = (seen[finding.status] or 0) + 1
    if finding.status == "fail" and not seen.code then
      seen.code = faults.known[finding.fault].code or codes.unavailable
    end
    if opts.json then
      say.line(say.record {
        { "check", finding.check }, { "status", finding.status }, { "endpoint", finding.where },
        { "fault", finding.fault }, { "detail", finding.detail }, { "advice", finding.advice },
      })
    else
      local where = finding.where and finding.where .. ": " or ""
      local check = finding.check .. (" "):rep(9 - #finding.check)
      say.line(MARKS[finding.status], "  ", check, say.safe(where .. finding.detail))
      if finding.advice then
        say.line("                 -> ", finding.advice)
      end
    end
  end
  return report, seen
end

-------------------------------------------------------------------------------------------------------------- checks

local function check_options(client, report)
  local all = client:options()
  report(faults.fine("options", nil, format("%s, prefix %s, ttl %g s: what a vanished holder held is free after "
    .. "at most that long", tostring(client), tostring(all.prefix), all.ttl)))
  for _, name in ipairs { "http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY" } do
    if os.getenv(name) then
      report(faults.fine("options", nil, name .. " is set; dsync does not use it"))
      break
    end
  end
  if client:backend() == "memory" then
    report(faults.finding("options", nil, "alone", "memory: is this process alone: nobody else sees these locks",
      "warn"))
  end
  return all.ttl
end

-- The same options for a client that knows this endpoint alone.
local function alone(url, opts, endpoint)
  local port = require "dsync.cli.doctor.port"
  local scheme, host, number = port.split(endpoint)
  local kind = url:match "^(%a+):"
  if not host or not number or not url:find "^%a+://" then
    return url, opts
  end
  kind = kind:gsub("s$", "") .. (scheme == "https" and "s" or "")
  local own = {}
  for name, value in pairs(opts) do
    own[name] = value
  end
  own.endpoints = nil
  return kind .. "://" .. (host:find ":" and "[" .. host .. "]" or host) .. ":" .. number, own
end

local function ping_times(client)
  local times = {}
  for i = 1, PINGS do
    local _, begun = process.clock()
    if not client:ping(PATIENCE) then
      return nil
    end
    local _, ended = process.clock()
    times[i] = ended - begun
  end
  table.sort(times)
  return times[math.ceil(PINGS / 2)]
end

local function check_version(endpoint, server, report)
  for _, bug in ipairs(require("dsync.cli.doctor.versions").bugs(server)) do
    local finding = faults.finding("version", endpoint, "version_bug", server .. ": " .. bug[1], "warn")
    finding.advice = finding.advice .. " to " .. bug[2] .. " or later"
    report(finding)
  end
end

local function is_anonymous(opts)
  return not (opts.auth or opts.tls and opts.tls.cert or opts.zookeeper and opts.zookeeper.digest)
end

-- Whether the server at this endpoint can be used.
local function check_endpoint(backend, url, opts, endpoint, report)
  local findings, go_on = require("dsync.cli.doctor.port").look(backend, endpoint)
  for _, finding in ipairs(findings) do
    report(finding)
  end
  if not go_on then
    return false
  end
  local client, message, code = dsync.open(alone(url, opts, endpoint))
  local server
  if client then
    server, message, code = client:ping(PATIENCE)
  end
  if not server then
    report(faults.finding("server", endpoint, faults.of(message, code, is_anonymous(opts)), message))
    return false
  end
  local seconds = ping_times(client)
  report(faults.fine("server", endpoint, tostring(server) .. (seconds
    and format(", answers in %.2f ms (median of %d)", seconds * 1000, PINGS) or "")))
  check_version(endpoint, type(go_on) == "string" and go_on or tostring(server), report)
  return true
end

local function check_endpoints(client, url, opts, report)
  local usable = 0
  local list = client:endpoints()
  for _, endpoint in ipairs(list) do
    if check_endpoint(client:backend(), url, opts, endpoint, report) then
      usable = usable + 1
    end
  end
  return usable > 0 or #list == 0
end

-- Whether locks work.
local function examine(opts, report)
  local before = { process.clock() }
  local url, for_open = settings.of(opts, { ttl = opts.ttl })
  url = url or "local:"
  local client, message, code = settings.checked(dsync.open, url, for_open)
  if not client then
    report(faults.finding("options", nil, faults.of(message, code), message))
    return false
  end
  local ttl, works = check_options(client, report), false
  if check_endpoints(client, url, for_open, report) then
    local other = dsync.open(url, for_open)
    works = true
    for _, finding in ipairs(require("dsync.cli.doctor.trial").run(client, other, ttl, is_anonymous(for_open))) do
      report(finding)
      works = works and finding.status ~= "fail"
    end
    other:close()
    client:close()
  end
  report(require("dsync.cli.doctor.clock").judge(before, { process.clock() }))
  return works
end

local function count(number, what)
  return number .. " " .. what .. (number == 1 and "" or "s")
end

function doctor.main(opts)
  local report, seen = reporter(opts)
  dsync.run(function()
    local works = examine(opts, report)
    if not opts.json then
      say.line(works and "locks work here" or "locks do not work here", ", ", count(seen.fail, "fault"), ", ",
        count(seen.warn, "warning"))
    end
    say.finish(seen.code or codes.ok)
  end)
end

return doctor
