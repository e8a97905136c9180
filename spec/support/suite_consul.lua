-- For specs about Consul itself: agents of their own, and what its other clients see and do.
--
--   local bench = require("spec.support.suite_consul").bench { nodes = 3 }
--   setup(bench.start)
--   teardown(bench.stop)
--   after_each(suite.cleanup)
--   ... bench.server:consul { ... }; suite.open(); bench.keys(prefix); bench.ask("GET", "/v1/session/list")

local consul = require "spec.support.consul"
local http = require "socket.http"
local json = require "dsync.json"
local ltn12 = require "ltn12"
local suite = require "spec.support.suite"

local tools = {}

-- A server for the tests of one block; suite.open() means it between start() and stop().
function tools.bench(settings)
  local bench = {}

  function bench.start()
    bench.server = assert(consul.start(settings))
    suite.use(bench.server.url, bench.server.options)
  end

  function bench.stop()
    suite.use()
    if bench.server then bench.server:stop() end
  end

  -- Asks an agent as any program would. Returns the status, the body, and the headers. options: node, token.
  function bench.ask(method, path, body, options)
    local reply = {}
    options = options or {}
    local _, status, headers = http.request {
      url = bench.server.nodes[options.node or 1].client .. path, method = method,
      source = ltn12.source.string(body or ""), sink = ltn12.sink.table(reply),
      headers = { ["Content-Length"] = #(body or ""), ["X-Consul-Token"] = options.token },
    }
    return status, table.concat(reply), headers
  end

  -- The same, for what must go well: the decoded answer.
  function bench.must(method, path, body)
    local status, text = bench.ask(method, path, body)
    assert(status == 200, path .. ": " .. tostring(status) .. " " .. text)
    return json.decode(text)
  end

  -- Where a key is found.
  function bench.kv(key)
    return "/v1/kv/" .. key:gsub("[^%w%-._~/]", function(c) return ("%%%02X"):format(c:byte()) end)
  end

  -- The keys below a prefix.
  function bench.keys(prefix)
    local status, text = bench.ask("GET", bench.kv(prefix) .. "?keys")
    return status == 200 and json.decode(text) or {}
  end

  -- A key as it is: {Value, Session, ModifyIndex, ...}; nil when there is none.
  function bench.pair(key)
    local status, text = bench.ask("GET", bench.kv(key))
    return status == 200 and json.decode(text)[1] or nil
  end

  function bench.session(fields)
    local parts = {}
    for name, value in pairs(fields or {}) do parts[#parts + 1] = ("%q:%q"):format(name, value) end
    return bench.must("PUT", "/v1/session/create", "{" .. table.concat(parts, ",") .. "}").ID
  end

  -- The keys of the queue of a lock, the native key not counted.
  function bench.entries(path)
    return bench.keys(path .. "/.queue/")
  end

  return bench
end

tools.median = require("spec.support.suite_etcd").median
tools.expect = require("spec.support.suite_etcd").expect

return tools
