-- hold.lua: `dsync hold`: a lock for as long as a shell script wants it.

local args = require "dsync.cli.args"
local codes = require "dsync.cli.codes"
local loops = require "dsync.cli.loop"
local obtain = require "dsync.cli.obtain"
local process = require "dsync.process"
local scheduler = require "dsync.scheduler"
local work = require "dsync.cli.work"

local ipairs = ipairs

local hold = {
  summary = "hold a lock until stdin closes",
  usage = "[OPTION...] NAME",
  operands = 1,
  options = {},
  text = [[
Takes the lock NAME, prints "held NAME TOKEN", and holds it until its stdin is closed, or nobody reads its stdout any
more. When the lock is lost it prints "lost NAME REASON" and ends with 76.]],
  examples = {
    { 'coproc dsync hold deploy; read -r _ _ token <&"${COPROC[0]}" || exit; ...', "for the rest of a bash script" },
    { "dsync hold deploy", "by hand, until Ctrl-D" },
  },
}

local OTHERS = { on_lost = true, kill_after = true, foreground = true, shell = true }
for _, option in ipairs(work.options) do
  if not OTHERS[option.name:gsub("%-", "_")] then
    hold.options[#hold.options + 1] = option
  end
end

-- Reports "closed" when stdin has ended, or the pipe that stdout is.
local function watch_streams(loop)
  scheduler.attach(0, function()
    if not process.discard(0) then
      loop:push "closed"
      return false
    end
  end)
  if process.is_pipe(1) then
    scheduler.attach(1, function()
      loop:push "closed"
      return false
    end)
  end
end

local function keep(lock, loop, opts, name)
  lock:on_revoked(function(_, reason)
    loop:push("lost", reason)
  end)
  work.announce(opts, "held", name, "token", lock:token_string())
  while true do
    local kind, one, number = loop:next()
    if kind == "lost" then
      work.announce(opts, "lost", name, "reason", one)
      return codes.lost
    elseif kind == "closed" then
      return codes.ok
    elseif kind == "signal" and loops.is_ending(one) then
      return codes.signal + number
    end
  end
end

local function release(lock, code, tell)
  local ok, message, why = lock:release()
  if not ok and why == "lost" then
    return codes.lost
  elseif not ok and why ~= "not_held" then
    tell("unreleased", message, why)
  end
  return code
end

function hold.main(opts, rest)
  local name = rest[1] or args.fail "hold needs the NAME of a lock"
  local tell = work.teller(opts, name)
  loops.run(function(loop)
    return work.with(opts, "lock", name, tell, function(client, lock)
      watch_streams(loop)
      local held, code, message, why = obtain.take(client, loop, lock, "acquire", work.wait_of(opts))
      if held then
        return release(lock, keep(lock, loop, opts, name), tell)
      elseif message then
        tell("failed", message, why)
      end
      return work.not_acquired(opts, code)
    end)
  end)
end

return hold
