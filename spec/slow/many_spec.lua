-- Ten thousand locks of one client: one session, one renewal, one connection for all their watches.
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_etcd"
local dsync, ok = suite.dsync, suite.ok

local MANY = 10000
local AT_ONCE = 64
local TTL = 6

-- TCP connections of this process to the server.
local function connections(port)
  local count, mine = 0, {}
  for link in io.popen("ls -l /proc/$PPID/fd 2>/dev/null"):lines() do
    local inode = link:match "socket:%[(%d+)%]"
    if inode then mine[inode] = true end
  end
  for line in io.lines "/proc/net/tcp" do
    local remote, state, inode = line:match "^%s*%d+: %x+:%x+ %x+:(%x+) (%x+) %S+ %S+ %S+%s+%d+%s+%d+ (%d+)"
    if inode and mine[inode] and state == "01" and tonumber(remote, 16) == port then count = count + 1 end
  end
  return count
end

describe("ten thousand locks", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)

  it("cost one renewal and one connection", function()
    local d = suite.open { ttl = TTL }
    local held = {}
    dsync.run(function()
      local next_one = 0
      for _ = 1, AT_ONCE do
        dsync.spawn(function()
          while next_one < MANY do
            next_one = next_one + 1
            local i = next_one
            held[i] = ok(d:lock("n" .. i):acquire { wait = 10 * suite.patience })
          end
        end)
      end
    end)
    assert.equal(MANY, d:stats().held)
    assert.equal(1, d:stats().sessions)
    -- What each lock asks for once (its watch, acquired_at) has been asked for when the count of requests rests.
    local before
    suite.eventually("quiet", function()
      local requests = d:stats().requests
      local quiet = requests == before
      before = requests
      d:dispatch(1)
      return quiet
    end, 20 * suite.patience)
    local renewals, requests = d:stats().renewals, d:stats().requests
    d:dispatch(TTL)
    local made = d:stats().renewals - renewals
    assert.is_true(made >= 2 and made <= 5, made .. " renewals in one ttl")
    -- A renewal is a keepalive and its confirmation.
    local asked = d:stats().requests - requests
    assert.is_true(asked <= 2 * made + 4, asked .. " requests in one ttl")
    for i = 1, MANY do assert.is_true(held[i]:held()) end

    -- A deletion is noticed through the one stream of watches.
    local port = tonumber(bench.server.url:match ":(%d+)")
    local open = connections(port)
    assert.is_true(open >= 1 and open <= AT_ONCE + 2, open .. " connections")
    local key = assert(bench.keys(held[MANY]:key() .. "/")[1])
    ok(bench.server:etcdctl { "del", key })
    assert.equal("deleted", held[MANY]:revoked(suite.patience))
    assert.is_true(held[1]:held())
    d:close()
    suite.eventually("an empty store", function() return #bench.keys(suite.prefix() .. "/lock/") == 0 end)
  end)
end)
