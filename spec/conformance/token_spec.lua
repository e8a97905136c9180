-- Fencing tokens: exact, and strictly increasing per lock name whoever acquires.
local suite = require "spec.support.suite"
local dsync, ok = suite.dsync, suite.ok

describe("a token", function()
  local name
  before_each(function() name = suite.name() end)
  after_each(suite.cleanup)

  it("is an exact positive integer", function()
    local lock = ok(suite.open():lock(name):acquire())
    local token = lock:token()
    assert.is_number(token)
    assert.equal(token, math.floor(token))
    assert.is_true(token > 0)
    if math.type then assert.equal("integer", math.type(token)) end
    assert.equal(("%d"):format(token), lock:token_string())
  end)

  it("grows with every acquisition of one object", function()
    local lock, last = suite.open():lock(name), 0
    for _ = 1, 20 do
      ok(lock:acquire { wait = suite.patience })
      assert.is_true(lock:token() > last)
      last = lock:token()
      ok(lock:release())
    end
  end)

  it("grows across objects, clients and closed clients", function()
    local last = 0
    for _ = 1, 4 do
      local a, b = suite.open(), suite.open()
      for _, client in ipairs { a, b, a } do
        local lock = ok(client:lock(name):acquire { wait = suite.patience })
        assert.is_true(lock:token() > last)
        last = lock:token()
        ok(lock:release())
      end
      a:close()
      b:close()
    end
  end)

  it("grows in the order in which waiters are served", function()
    dsync.run(function()
      local tokens, tasks = {}, {}
      local clients = { suite.open(), suite.open(), suite.open() }
      for i = 1, 30 do
        tasks[i] = suite.spawn(function()
          local lock = ok(clients[i % 3 + 1]:lock(name):acquire { wait = suite.patience })
          tokens[#tokens + 1] = lock:token()
          ok(lock:release())
        end)
      end
      for i = 1, 30 do suite.join(tasks[i]) end
      assert.equal(30, #tokens)
      for i = 2, 30 do assert.is_true(tokens[i] > tokens[i - 1]) end
    end)
  end)

  it("grows over a loss and over a hand-over by force", function()
    local a, b = suite.open(), suite.open()
    local lost = ok(a:lock(name):acquire())
    ok(b:break_lock(name, { token = lost:token() }))
    local next_one = ok(b:lock(name):acquire { wait = suite.patience })
    assert.is_true(next_one:token() > lost:token())
    ok(next_one:release())
    assert.equal("broken", lost:revoked(suite.patience))
    local again = ok(a:lock(name):acquire { wait = suite.patience })
    assert.is_true(again:token() > next_one:token())
  end)

  it("stays readable after the release, as that of the last acquisition", function()
    local lock = ok(suite.open():lock(name):acquire())
    local text = lock:token_string()
    ok(lock:release())
    assert.equal(text, lock:token_string())
  end)

  it("of a leader grows too", function()
    local a, b, last = suite.open(), suite.open(), 0
    for _, client in ipairs { a, b, a, b } do
      local elected = ok(client:leader(name):elect { wait = suite.patience })
      assert.is_true(elected:token() > last)
      assert.equal(elected:token(), ok(client:leader(name):leader()).token)
      last = elected:token()
      ok(elected:resign())
    end
  end)
end)
