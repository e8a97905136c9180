-- obtain.lua: takes a lock, or wins an election, while signals are watched and the server is expected to be there.
--
-- A wait may be as long as its user wants, but only behind somebody who holds: that no server answers is said soon.

local codes = require "dsync.cli.codes"
local dsync = require "dsync"
local loops = require "dsync.cli.loop"

local obtain = {}

local QUIET = 0.4 -- seconds without an answer before it is asked whether anybody is there
local PATIENCE = 4 -- seconds for an answer to that

-- Asks, beside the wait, whether a server answers at all.
local function look_after(client, loop, over)
  dsync.spawn(function()
    dsync.sleep(QUIET)
    if over() then
      return
    end
    local name, message, code = client:ping(PATIENCE)
    if not name and not over() then
      loop:push("unreached", message, code)
    end
  end)
end

-- What the wait's end means: object, or nil, exit code, message, code.
local function outcome(object, message, code)
  if object then
    return object
  end
  return nil, codes.of(code), message, code
end

--- Calls object:method{wait = wait}. What it returns, or nil, exit code, message, code; message is nil when a signal
--- ended the wait.
function obtain.take(client, loop, object, method, wait)
  local canceller, ended, result = dsync.canceller(), false, nil
  dsync.spawn(function()
    result = { object[method](object, { wait = wait, cancel = canceller }) }
    ended = true
    loop:push "settled"
  end)
  look_after(client, loop, function()
    return ended
  end)
  local exit_code, message, code
  repeat
    local kind, one, two = loop:next()
    if kind == "signal" and loops.is_ending(one) and not exit_code then
      exit_code = codes.signal + two
      canceller:cancel()
    elseif kind == "unreached" and not exit_code then
      exit_code, message, code = codes.of(two), one, two
      canceller:cancel()
    elseif kind == "closed" and not exit_code then
      exit_code, message = one, two
      canceller:cancel()
    end
  until ended and kind == "settled"
  -- It may have been won just before it was given up: then it goes back.
  if exit_code and result[1] then
    local held = result[1]
    local give_up = held.release or held.resign
    give_up(held)
  end
  if exit_code then
    return nil, exit_code, message, code
  end
  return outcome(result[1], result[2], result[3])
end

return obtain
