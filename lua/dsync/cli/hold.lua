-- hold.lua: `dsync hold`: a lock for as long as a shell script wants it.

local args = require "dsync.cli.args"
local codes = require "dsync.cli.codes"
local loops = require "dsync.cli.loop"
local obtain = require "dsync.cli.obtain"
local streams = require "dsync.cli.streams"
local work = require "dsync.cli.work"

local ipairs = ipairs

local hold = {
  summary = "hold a lock until stdin closes",
  usage = "[OPTION...] NAME",
  operands = 1,
  options = {},
  text = [[
Takes the lock NAME, prints "held NAME TOKEN", and holds it until its stdin is closed, or nobody reads its stdout any
more. When the lock is lost it prints "lost NAME REASON" and ends with 76. Without a stdin (cron, systemd, ssh -n, &)
there is nothing to hold it for: exit code 64; dsync run needs none.]],
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

local function watch_streams(loop, name)
  local nothing = ('nothing to hold "%s" for'):format(name)
  streams.watch_stdin(loop, "stdin is closed: " .. nothing .. " (dsync run NAME CMD needs no stdin)")
  streams.watch_stdout(loop, "nobody reads stdout: " .. nothing)
  streams.look()
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
      watch_streams(loop, name)
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
