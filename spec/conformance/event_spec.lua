-- on_event: the stream of notices for people who operate a program.
local suite = require "spec.support.suite"
local ok = suite.ok

describe("on_event", function()
  local notices
  before_each(function() notices = {} end)
  after_each(suite.cleanup)

  local function open(options)
    options = options or {}
    options.on_event = function(event)
      notices[#notices + 1] = event
    end
    return suite.open(options)
  end

  local function count(text)
    local n = 0
    for _, notice in ipairs(notices) do
      assert.is_string(notice.type)
      if notice.message:find(text, 1, true) then n = n + 1 end
    end
    return n
  end

  it("hears of errors in callbacks", function()
    local a, b, name = open(), suite.open(), suite.name()
    local lock = ok(a:lock(name):acquire())
    lock:on_revoked(function() error "in a callback" end)
    ok(b:break_lock(name, { token = lock:token() }))
    suite.eventually("a notice", function()
      a:dispatch(0.01)
      return count "in a callback" == 1
    end)
  end)

  it("warns once of the global scope", function()
    local d = open { region = "eu" }
    for i = 1, 3 do d:lock("x" .. i, { scope = "global" }) end
    suite.eventually("the warning", function()
      d:dispatch(0.01)
      return count "global" > 0
    end)
    d:dispatch(0.05)
    assert.equal(1, count "global")
  end)

  it("may raise an error without harm", function()
    local a = suite.open { region = "eu", on_event = function() error "this is meant to be seen on stderr" end }
    a:lock("x", { scope = "global" })
    a:dispatch(0.05)
    ok(a:lock("y"):acquire { wait = suite.patience })
  end)
end)
