-- For specs about etcd itself: a server of their own, and what its other clients see.
--
--   local bench = require("spec.support.suite_etcd").bench { nodes = 3 }
--   setup(bench.start)
--   teardown(bench.stop)
--   after_each(suite.cleanup)
--   ... bench.server:etcdctl { ... }; suite.open(); bench.keys(prefix)

local etcd = require "spec.support.etcd"
local http = require "socket.http"
local ltn12 = require "ltn12"
local suite = require "spec.support.suite"

local tools = {}

-- A server for the tests of one block; suite.open() means it between start() and stop().
function tools.bench(settings)
  local bench = {}

  function bench.start()
    bench.server = assert(etcd.start(settings))
    suite.use(bench.server.url, bench.server.options)
  end

  function bench.stop()
    suite.use()
    if bench.server then bench.server:stop() end
  end

  -- The keys below a prefix, as etcdctl lists them.
  function bench.keys(prefix)
    local list = {}
    local text = assert(bench.server:etcdctl { "get", prefix, "--prefix", "--keys-only" })
    for key in text:gmatch "[^\n]+" do list[#list + 1] = key end
    return list
  end

  -- The value of one key, or nil.
  function bench.value(key)
    local text = assert(bench.server:etcdctl { "get", key, "--print-value-only" })
    return text ~= "" and text:gsub("\n$", "") or nil
  end

  -- Asks the server's JSON gateway at once, without the 20 ms that starting an etcdctl takes.
  function bench.post(path, json)
    local reply = {}
    local _, status = http.request {
      url = bench.server.http .. path, method = "POST", source = ltn12.source.string(json),
      sink = ltn12.sink.table(reply), headers = { ["Content-Length"] = #json },
    }
    assert(status == 200, path .. ": " .. tostring(status) .. " " .. table.concat(reply))
    return table.concat(reply)
  end

  return bench
end

local digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

function tools.base64(text)
  local out = {}
  for i = 1, #text, 3 do
    local a, b, c = text:byte(i, i + 2)
    local n = a * 65536 + (b or 0) * 256 + (c or 0)
    for j = 3, 0, -1 do
      local digit = math.floor(n / 64 ^ j) % 64 + 1
      out[#out + 1] = (j == 1 and not b or j == 0 and not c) and "=" or digits:sub(digit, digit)
    end
  end
  return table.concat(out)
end

-- A 64-bit number in hex as decimal text, on every Lua.
function tools.decimal(hex)
  local limbs = { 0 } -- base 10^6, lowest first
  for i = 1, #hex do
    local carry = tonumber(hex:sub(i, i), 16)
    for j = 1, #limbs do
      local n = limbs[j] * 16 + carry
      limbs[j], carry = n % 1000000, math.floor(n / 1000000)
    end
    if carry > 0 then limbs[#limbs + 1] = carry end
  end
  local text = ("%d"):format(limbs[#limbs])
  for j = #limbs - 1, 1, -1 do text = text .. ("%06d"):format(limbs[j]) end
  return text
end

-- The lease of an entry's key, in hex.
function tools.lease_of(key)
  return key:match "/(%x+)%-%x+$"
end

-- Waits for a line of a process that matches, while other coroutines go on; returns the captures.
function tools.expect(process, pattern)
  local said = {}
  return suite.eventually(pattern .. " from " .. process.name, function()
    local line, why = process:line(0)
    if why == "eof" then error(("ended without %q:\n%s"):format(pattern, table.concat(said, "\n")), 0) end
    said[#said + 1] = line
    return line and line:match(pattern)
  end)
end

function tools.median(list)
  table.sort(list)
  return list[math.floor((#list + 1) / 2)]
end

return tools
