-- Tests with an upper limit of time. A machine that is slow for a moment must fail none of them: a test that only took
-- too long is run again, with everything new, and fails when that was so three times. One that fails for another reason
-- fails at once.
--
--   it("answers within a second", in_time(function(within)
--     local began = suite.now()
--     fails("timeout", lock:acquire { wait = 0.5 })
--     within(1, suite.now() - began, "the answer") -- judged when the test is over, so that it can be run again
--   end))

local suite = require "spec.support.suite"

local TIMES = 3

return function(test)
  return function()
    local late
    for _ = 1, TIMES do
      late = {}
      test(function(limit, took, what)
        if took > limit then late[#late + 1] = ("%s took %.3f s, more than %g s"):format(what, took, limit) end
      end)
      if #late == 0 then return end
      suite.cleanup()
    end
    error(("%d times in a row, the last time: %s"):format(TIMES, table.concat(late, "; ")), 0)
  end
end
