-- leader:run: campaign for ever, lead, and campaign again after every loss.
local suite = require "spec.support.suite"
local dsync, ok = suite.dsync, suite.ok

describe("leader:run", function()
  local a, b, name
  before_each(function()
    a, b, name = suite.open { retry_interval = 0.05 }, suite.open { retry_interval = 0.05 }, suite.name()
  end)
  after_each(suite.cleanup)

  it("leads until it is stopped", function()
    dsync.run(function()
      local leader, seen = a:leader(name, { id = "a" }), {}
      local task = suite.spawn(function()
        return leader:run { on_elected = function(elected, run)
          seen.elected, seen.run = elected, run
          elected:revoked()
        end }
      end)
      suite.eventually("the election", function() return seen.run end)
      assert.is_true(seen.elected:held())
      assert.equal("elected", leader:status())
      assert.is_false(task.done)
      seen.run:stop()
      suite.join(task)
      assert.is_false(seen.elected:held())
      assert.equal("follower", leader:status())
      suite.eventually("a vacancy", function() return #ok(b:leader(name):members()) == 0 end)
    end)
  end)

  it("campaigns again after every loss", function()
    dsync.run(function()
      local leader, tokens, losses, run = a:leader(name, { hold = 0.2 }), {}, {}, nil
      local task = suite.spawn(function()
        return leader:run {
          on_elected = function(elected, r)
            tokens[#tokens + 1], run = elected:token(), r
            elected:revoked()
          end,
          on_revoked = function(_, _, reason) losses[#losses + 1] = reason end,
        }
      end)
      suite.eventually("three terms", function() return #tokens >= 3 end)
      run:stop()
      suite.join(task)
      assert.is_true(tokens[1] < tokens[2] and tokens[2] < tokens[3])
      assert.equal("expired", losses[1])
      assert.equal("expired", losses[2])
    end)
  end)

  it("tells who leads, also when it is somebody else", function()
    dsync.run(function()
      local elected = ok(b:leader(name, { id = "b" }):elect())
      local leaders, run = {}, nil
      local task = suite.spawn(function()
        return a:leader(name, { id = "a" }):run {
          on_leader = function(who) leaders[#leaders + 1] = who and who.id or "nobody" end,
          on_elected = function(e, r)
            run = r
            e:revoked()
          end,
        }
      end)
      suite.eventually("news of b", function() return leaders[#leaders] == "b" end)
      ok(elected:resign())
      suite.eventually("news of a", function() return leaders[#leaders] == "a" end)
      suite.eventually("the election", function() return run end)
      run:stop()
      suite.join(task)
    end)
  end)

  it("two of them never lead at once", function()
    dsync.run(function()
      local leading, most, terms, runs, tasks = 0, 0, 0, {}, {}
      for i, client in ipairs { a, b } do
        tasks[i] = suite.spawn(function()
          return client:leader(name):run { on_elected = function(elected, run)
            runs[i] = run
            terms = terms + 1
            leading = leading + 1
            most = math.max(most, leading)
            suite.pause(0.01)
            leading = leading - 1
            elected:resign()
          end }
        end)
      end
      suite.eventually("some terms", function() return terms >= 10 and runs[1] and runs[2] end)
      runs[1]:stop()
      runs[2]:stop()
      suite.join(tasks[1])
      suite.join(tasks[2])
      assert.equal(1, most)
    end)
  end)

  it("ends when its client is closed", function()
    dsync.run(function()
      local elected
      local task = suite.spawn(function()
        return a:leader(name):run { on_elected = function(e)
          elected = e
          e:revoked()
        end }
      end)
      suite.eventually("the election", function() return elected end)
      a:close()
      local value, _, code = suite.join(task)
      assert.is_nil(value)
      assert.equal("closed", code)
    end)
  end)
end)
