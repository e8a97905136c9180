-- clock.lua: whether this machine's clock was set while the doctor looked, and whether it agrees with the server's.

local faults = require "dsync.cli.doctor.faults"
local say = require "dsync.cli.say"

local abs, format = math.abs, string.format

local clock = {}

local JUMP = 0.1 -- seconds by which slewing cannot move it in so short a time
local SKEW = 5

--- Two samples (each: seconds since 1970, seconds since boot) as a finding.
function clock.judge(before, after)
  local moved = (after[1] - before[1]) - (after[2] - before[2])
  if abs(moved) > JUMP then
    return faults.finding("clock", nil, "clock_jump",
      format("this machine's clock was set %s by %s meanwhile", moved > 0 and "forward" or "back",
        say.duration(abs(moved))), "warn")
  end
  return faults.fine("clock", nil, "steady while it was watched (" .. say.duration(after[2] - before[2]) .. ")")
end

local MONTHS = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11,
  Dec = 12 }

-- Days from 1970 to a date.
local function days(year, month, day)
  if month <= 2 then
    year, month = year - 1, month + 12
  end
  local leaps = math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
  return 365 * year + leaps + math.floor((153 * (month - 3) + 2) / 5) + day - 719469
end

--- An HTTP date as seconds since 1970, or nil.
function clock.parse(date)
  local day, month, year, hour, minute, second = date:match "(%d+) (%a%a%a) (%d%d%d%d) (%d+):(%d+):(%d+) GMT"
  if not MONTHS[month] then
    return nil
  end
  return days(year + 0, MONTHS[month], day + 0) * 86400 + hour * 3600 + minute * 60 + second
end

--- The server's Date beside our clock: a finding when they are far apart.
function clock.compare(where, date, now)
  local theirs = date and clock.parse(date)
  if theirs and abs(theirs - now) > SKEW then
    return faults.finding("clock", where, "clock_skew", "this machine's clock is " .. say.duration(abs(theirs - now))
      .. (now > theirs and " ahead of" or " behind") .. " the server's", "warn")
  end
end

return clock
