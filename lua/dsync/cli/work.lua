-- work.lua: what `run` and `elect` have in common: take it, run a program while it is held, give it up.

local child = require "dsync.cli.child"
local codes = require "dsync.cli.codes"
local obtain = require "dsync.cli.obtain"
local process = require "dsync.process"
local say = require "dsync.cli.say"
local settings = require "dsync.cli.settings"

local io, ipairs, tostring = io, ipairs, tostring

local work = {}

work.options = {
  { name = "ttl", kind = "seconds", value = "S", help = "how long the lock outlives a holder that vanished (15)" },
  { name = "value", kind = "text", value = "V", help = "shown to others beside the holder" },
  { name = "key", kind = "text", value = "KEY", help = "the whole key on the server, to share it with other programs" },
  { name = "wait", kind = "wait", value = "S",
    help = "wait at most so long, as in --wait=5; without S (the default): for ever" },
  { name = "try", kind = "flag", help = "do not wait" },
  { name = "on-lost", kind = { "term", "kill", "ignore" }, value = "term|kill|ignore",
    help = "what becomes of CMD when it is lost (term)" },
  { name = "kill-after", kind = "seconds", value = "S",
    help = "from SIGTERM to SIGKILL then (10; never longer than the lease lasts)" },
  { name = "foreground", kind = "flag", help = "CMD stays in this process group" },
  { name = "not-acquired-code", short = "E", kind = "exit code", value = "N",
    help = "exit code when it is not acquired (75)" },
  { name = "shell", short = "c", kind = "text", value = "LINE", help = "CMD is a line for /bin/sh" },
  { name = "json", kind = "flag", help = "messages as JSON lines" },
}

-- People are told what matters to them; programs are told everything.
local SENTENCES = {
  lost = function(name, reason, on_lost)
    local then_what = {
      term = "telling the command to end", kill = "killing the command", ignore = "the command runs on, as was asked",
    }
    return ('lost "%s" (%s)'):format(name, reason) .. (on_lost and ": " .. then_what[on_lost] or "")
  end,
  unreleased = function(_, message)
    return message
  end,
  warning = function(_, message)
    return message
  end,
}

--- A function tell(event, detail, ...) for one name.
function work.teller(opts, name)
  return function(event, detail, ...)
    if event == "failed" then
      detail = settings.in_words(detail, (...))
    end
    if opts.json then
      local fields = {
        { "time", say.timestamp((process.clock())) }, { "event", event }, { "name", name },
      }
      if event == "acquired" or event == "elected" then
        fields[4], fields[5] = { "token", say.digits(detail) }, { "key", (...) }
      elseif event == "exited" then
        fields[4] = { "code", detail }
      elseif detail ~= nil then
        fields[4] = { event == "lost" and "reason" or "message", tostring(detail) }
        fields[5] = event ~= "lost" and { "code", (...) } or nil
      end
      io.stderr:write(say.record(fields), "\n")
    elseif SENTENCES[event] then
      say.message(SENTENCES[event](name, detail, ...))
    elseif event == "failed" then
      say.message(detail)
    end
  end
end

--- A line on stdout for the begin ("token") or the end ("reason") of a hold.
function work.announce(opts, event, name, label, detail)
  if opts.json then
    say.line(say.record {
      { "time", say.timestamp((process.clock())) }, { "event", event }, { "name", name },
      { label, label == "token" and say.digits(detail) or detail },
    })
  else
    say.line(event, " ", say.safe(name), " ", detail)
  end
end

--- The seconds to wait: nil is for ever.
function work.wait_of(opts)
  if opts.try then
    return 0
  elseif opts.wait == "for ever" then
    return nil
  end
  return opts.wait
end

--- The program's arguments from the options and what follows NAME.
function work.command_of(opts, rest)
  if not opts.shell then
    return rest
  end
  local line = { "/bin/sh", "-c", opts.shell, "dsync" }
  for _, word in ipairs(rest) do
    line[#line + 1] = word
  end
  return line
end

--- The code to end with when it was not acquired.
function work.not_acquired(opts, code)
  return code == codes.not_acquired and opts.not_acquired_code or code
end

--- The ttl in effect.
function work.ttl_of(client, opts)
  return opts.ttl or client:options().ttl
end

-- Gives the hold up, and says so when that did not go as it should. Whether it had been lost.
local function give_up(hold, tell, lost)
  local release = hold.release or hold.resign
  local ok, message, code = release(hold)
  if not ok and code == "lost" and not lost then
    tell("lost", "noticed when it was given up")
    return true
  elseif not ok and code ~= "lost" and code ~= "not_held" then
    tell("unreleased", message, code)
  end
  return lost ~= nil
end

--- Runs the program under something held and gives it up: the exit code, and whether the hold was lost.
function work.under(hold, loop, spec)
  local one, code, message = child.start(hold, spec)
  if not one then
    spec.tell("failed", message)
    give_up(hold, spec.tell)
    return code, false
  end
  local lost
  code, lost = one:wait(loop)
  spec.tell("exited", code)
  if give_up(hold, spec.tell, lost) then
    return codes.lost, true
  end
  return code, false
end

--- Takes object by `method` and runs the program under it: exit code, whether it was lost while running.
function work.once(client, loop, object, method, opts, arguments, tell)
  local hold, code, message, why = obtain.take(client, loop, object, method, work.wait_of(opts))
  if not hold then
    if message then
      tell("failed", message, why)
    end
    return work.not_acquired(opts, code), false
  end
  tell(method == "elect" and "elected" or "acquired", hold:token_string(), hold:key())
  return work.under(hold, loop, {
    arguments = arguments,
    on_lost = opts.on_lost,
    kill_after = opts.kill_after,
    foreground = opts.foreground,
    ttl = work.ttl_of(client, opts),
    tell = tell,
  })
end

--- Opens a client, makes the lock or leader `name` (kind: "lock" or "leader") and runs main(client, object): its exit
--- code, or that for why not.
function work.with(opts, kind, name, tell, main)
  local client, message, code = settings.open(opts)
  local object
  if client then
    object, message, code = settings.checked(client[kind], client, name, {
      ttl = opts.ttl, value = opts.value, key = opts.key, namespace = opts.namespace, -- nil for locks
    })
  end
  if not object then
    tell("failed", message, code)
    return codes.of(code)
  end
  if client:backend() == "memory" then
    tell("warning", "memory: is this process alone: nobody else sees what is held here; use local: or a server's URL")
  end
  code = main(client, object)
  client:close(code == codes.unavailable and 0 or nil)
  return code
end

return work
