-- The simulator's Consul answers as a real one does: to the same requests the same, but for ids and indexes.
local json = require "dsync.json"
local rig = require "spec.support.rig"
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_consul"

local MODEL = "build/sim/ask"

local digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local NOBODY = "00000000-0000-0000-0000-000000000000"

local function plain(text, names)
  for name, id in pairs(names) do text = text:gsub(id:gsub("%-", "%%-"), "<" .. name .. ">") end
  return (text:gsub('("%a+Index":)%d+', "%1#"):gsub('("LockIndex":)#', "%1"):gsub("modify index %d+", "modify index #"))
end

describe("the simulator's Consul", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)

  it("says what a real one says", function()
    local model = rig.start({ MODEL }, {})
    local names = { {}, {} } -- of sessions: the model's, the real one's
    local prefix = suite.random_hex(4) .. "/"

    local function ask_model(method, target, body)
      assert(model:write(("%s %s %s\n"):format(method, target, body)))
      local status, text = assert(model:line(suite.patience)):match "^(%d+) (.*)$"
      local headers = {}
      for line in function() return model:line(suite.patience) end do
        if line == "--" then break end
        local name, value = line:match "^(%S+): (.*)$"
        headers[name:lower()] = value
      end
      return tonumber(status), text, headers
    end

    local function filled(text, own)
      return (text:gsub("%$(%u)", own))
    end

    -- Asks both, compares, and returns what the real one said.
    local function both(method, target, body, session)
      body = body or ""
      local shown = method .. " " .. target .. " " .. body
      local m_status, m_text, m_headers = ask_model(method, filled(target, names[1]), filled(body, names[1]))
      local status, text, headers = bench.ask(method, filled(target, names[2]), filled(body, names[2]))
      text = text:gsub("\n$", "")
      if session then
        names[1][session], names[2][session] = json.decode(m_text).ID, json.decode(text).ID
      end
      assert.equal(status, m_status, shown .. "\n" .. text .. "\n" .. m_text)
      assert.equal(plain(text, names[2]), plain(m_text, names[1]), shown)
      assert.equal(headers["x-consul-knownleader"], m_headers["x-consul-knownleader"], shown)
      assert.equal(headers["x-consul-index"] ~= nil, m_headers["x-consul-index"] ~= nil, shown)
    end

    local function encoded(text)
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

    -- Operations as "verb key", then fields: {"lock q/1", Session = "$A"}.
    local function txn(...)
      local list = {}
      for i, operation in ipairs { ... } do
        local verb, key = operation[1]:match "^(%S+) (.*)$"
        local fields = ('"Verb":"%s","Key":"%s"'):format(verb, prefix .. key)
        if operation.Value then fields = fields .. (',"Value":"%s"'):format(encoded(operation.Value)) end
        if operation.Session then fields = fields .. (',"Session":"%s"'):format(operation.Session) end
        if operation.Index then fields = fields .. (',"Index":%d'):format(operation.Index) end
        if operation.Flags then fields = fields .. (',"Flags":%s'):format(operation.Flags) end
        list[i] = '{"KV":{' .. fields .. "}}"
      end
      both("PUT", "/v1/txn", "[" .. table.concat(list, ",") .. "]")
    end

    local function kv(method, rest, body)
      both(method, "/v1/kv/" .. prefix .. rest, body)
    end

    for name in ("AB"):gmatch "." do
      both("PUT", "/v1/session/create", '{"Name":"dsync ' .. name
        .. '","TTL":"15s","LockDelay":"3s","Behavior":"delete","Checks":[],"NodeChecks":[]}', name)
    end
    both("GET", "/v1/session/info/$A")
    both("GET", "/v1/session/info/" .. NOBODY)
    both("PUT", "/v1/session/renew/$A")
    both("PUT", "/v1/session/renew/" .. NOBODY)
    for _ = 1, 2 do txn({ "check-not-exists s" }, { "lock s", Value = "x", Session = "$A" }) end
    txn({ "check-index s", Index = 1 }, { "check-not-exists t" },
      { "lock n", Flags = "3304740253564472344", Session = "$A" })
    txn { "check-index none", Index = 1 }
    for _, key in ipairs { "s", "none" } do
      for _, session in ipairs { "$A", "$B" } do txn { "check-session " .. key, Session = session } end
      txn { "get " .. key }
      txn { "get-tree " .. key }
    end
    txn({ "lock n", Flags = "3304740253564472344", Session = "$A" }, { "lock q/1", Value = "v1", Session = "$A" },
      { "get-tree q/" })
    txn({ "lock n", Session = "$B" }, { "lock q/2", Value = "v2", Session = "$B" }, { "get none" }, { "set t" },
      { "get-tree q/" })
    txn({ "set t" }, { "lock q/2", Value = "v2", Session = "$B" }, { "get-tree q/" })
    txn { "lock n", Session = NOBODY }
    txn { "lock n" }
    for _, rest in ipairs { "n", "none", "?keys", "?recurse", "none?recurse=", "q/2?raw", "n?index=x",
      "n?index=1&wait=x", "n?consistent&stale", "n?index=1&wait=1s", "n?consistent=" } do
      kv("GET", rest)
    end
    txn({ "check-session q/1", Session = "$A" }, { "unlock n", Session = "$A" }, { "delete q/1" }, { "get-tree q/" },
      { "get t" })
    txn { "unlock n", Session = "$A" }
    txn({ "lock n", Session = "$B" }, { "get-tree q/" })
    txn { "lock n", Session = "$B" }
    kv("GET", "n")
    kv("PUT", "n", "plain")
    kv("GET", "n")
    for _, rest in ipairs { "n?acquire=$A", "n?release=$A", "n?release=$B", "n?acquire=$A&flags=7", "n?acquire=$A",
      "n?acquire=" .. NOBODY, "n?cas=3", "new?cas=0" } do
      kv("PUT", rest, "written")
      kv("GET", "n")
    end
    txn { "cas new", Index = 3, Value = "z" }
    txn { "delete-cas new", Index = 3 }
    txn { "delete-cas none", Index = 3 }
    txn { "cas brand", Index = 0, Value = "z" }
    txn { "delete none" }
    txn { "delete-tree bra" }
    txn { "foo none" }
    txn()
    txn { "set n", Value = "w", Flags = "9" }
    for _, rest in ipairs { "new", "new", "t?cas=1" } do kv("DELETE", rest) end
    txn { "lock n", Session = "$A" }
    both("PUT", "/v1/session/destroy/$A")
    both("PUT", "/v1/session/destroy/$A")
    kv("GET", "n")
    txn({ "lock n", Session = "$B" }, { "get none" })
    kv("PUT", "n?acquire=$B", "x")
    txn({ "check-session s", Session = "$B" }, { "lock n", Session = "$B" }, { "lock z", Session = NOBODY })
    both("PUT", "/v1/session/destroy/$B")
    kv("GET", "?recurse")
    both("PUT", "/v1/txn", '[{"KV":{"Verb":"set","Key":""}}]')
    model:stop()
  end)
end)
