-- elect.lua: `dsync elect`: leadership, with a program that runs during it, or with a line for each term.

local args = require "dsync.cli.args"
local codes = require "dsync.cli.codes"
local look = require "dsync.cli.look"
local loops = require "dsync.cli.loop"
local obtain = require "dsync.cli.obtain"
local streams = require "dsync.cli.streams"
local work = require "dsync.cli.work"

local ipairs = ipairs

local PAUSE = 1 -- seconds between campaigns that fail

local elect = {
  summary = "campaign for leadership; run a command while elected",
  usage = "[OPTION...] NAME [[--] CMD [ARGUMENT...]]",
  leading = true,
  options = { { name = "forever", kind = "flag", help = "campaign again after a term was lost" }, look.namespace },
  text = [[
Campaigns in the election NAME. With CMD: runs it once elected, as dsync run does under a lock, and resigns when it has
ended. Without: prints "elected NAME TOKEN" and, when it is over, "revoked NAME REASON", until a signal ends it,
or nobody reads its stdout any more. With --forever it campaigns again after a loss, and starts CMD anew.]],
  examples = {
    { "dsync elect --forever scheduler -- ./scheduler --verbose", "one scheduler in the whole cluster" },
    { "dsync elect scheduler | while read -r what name token; do ...; done", "act on being elected" },
  },
}

for _, option in ipairs(work.options) do
  elect.options[#elect.options + 1] = option
end

-- One term: what ended it: an exit code, and whether it was lost.
local function watch_term(elected, loop, opts, name)
  work.announce(opts, "elected", name, "token", elected:token_string())
  elected:on_revoked(function(_, reason)
    loop:push("lost", reason)
  end)
  while true do
    local kind, one, number = loop:next()
    if kind == "lost" then
      work.announce(opts, "revoked", name, "reason", one)
      return codes.lost, true
    elseif kind == "signal" and loops.is_ending(one) then
      elected:resign()
      work.announce(opts, "revoked", name, "reason", "resigned")
      return codes.signal + number, false
    elseif kind == "closed" then
      elected:resign()
      return codes.ok, false
    end
  end
end

local function term_without_command(client, loop, leader, opts, tell)
  local elected, code, message, why = obtain.take(client, loop, leader, "elect", work.wait_of(opts))
  if elected then
    return watch_term(elected, loop, opts, leader:name())
  elseif message then
    tell("failed", message, why)
  end
  return work.not_acquired(opts, code), false
end

-- Waits a little; the code of what came meanwhile and ends the command.
local function pause(loop)
  local deadline = look.now() + PAUSE
  repeat
    local kind, one, number = loop:next(math.max(0, deadline - look.now()))
    if kind == "signal" and loops.is_ending(one) then
      return codes.signal + number
    elseif kind == "closed" then
      return one
    end
  until not kind
end

local function campaign(client, loop, leader, opts, arguments, tell)
  local was_elected = false
  while true do
    local code, lost
    if #arguments > 0 then
      code, lost = work.once(client, loop, leader, "elect", opts, arguments, tell)
    else
      code, lost = term_without_command(client, loop, leader, opts, tell)
    end
    was_elected = was_elected or lost
    if not opts.forever or not (lost or was_elected and code == codes.unavailable) then
      return code
    end
    code = code == codes.unavailable and pause(loop)
    if code then
      return code
    end
  end
end

function elect.main(opts, rest)
  local name = table.remove(rest, 1) or args.fail "elect needs the NAME of an election"
  local arguments = work.command_of(opts, rest)
  local tell = work.teller(opts, name)
  loops.run(function(loop)
    return work.with(opts, "leader", name, tell, function(client, leader)
      if #arguments == 0 then
        streams.watch_stdout(loop, ('nobody reads stdout: nothing to lead "%s" for'):format(name))
        streams.look()
      end
      return campaign(client, loop, leader, opts, arguments, tell)
    end)
  end)
end

return elect
