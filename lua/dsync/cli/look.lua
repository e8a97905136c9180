-- look.lua: what the commands that only look have in common: a client, a server that answers soon or not at all, and
-- how somebody who holds or waits is shown.

local codes = require "dsync.cli.codes"
local dsync = require "dsync"
local process = require "dsync.process"
local say = require "dsync.cli.say"
local settings = require "dsync.cli.settings"

local type = type

local look = {}

local QUIET = 0.4 -- seconds without an answer before it is asked whether anybody is there
local PATIENCE = 4 -- seconds for an answer to that

look.json = { name = "json", kind = "flag", help = "one JSON object per line" }
look.namespace = { name = "namespace", kind = "text", value = "NS", env = "DSYNC_NAMESPACE",
  help = "of elections (default)" }

local function end_with(message, code)
  say.message(settings.in_words(message, code))
  process.exit(codes.of(code))
end

--- Runs main(client, answered) and ends the process with the code it returns, or with that for nil, message, code. A
--- server that does not answer ends it, too, unless answered() was called before.
function look.run(opts, main, more)
  local client, problem, why = settings.open(opts, more)
  if not client then
    say.message(problem)
    return codes.of(why)
  end
  local has_answered = false
  local function answered()
    has_answered = true
  end
  dsync.run(function()
    dsync.spawn(function()
      dsync.sleep(QUIET)
      local name, message, code = client:ping(PATIENCE)
      if not name and not has_answered then
        end_with(message, code)
      end
    end)
    local code, message, outcome = settings.protected(main, client, answered)
    if not code then
      end_with(message, outcome)
    end
    say.finish(code)
  end)
end

local function value_text(value)
  if value == nil then
    return ""
  end
  return type(value) == "table" and say.record { { "v", value } }:match "^{\"v\":(.*)}$" or value
end

--- The cells ID, TOKEN, SINCE, VALUE for somebody.
function look.cells(peer, now)
  return peer.id or "-", peer.token_string or "", say.ago(peer.since, now), value_text(peer.value)
end

--- The same as fields of a JSON record.
function look.fields(peer)
  return {
    { "id", peer.id },
    { "token", say.digits(peer.token_string) },
    { "since", peer.since and say.timestamp(peer.since) },
    { "value", peer.value },
  }
end

--- Somebody as a JSON value, or nil.
function look.object(peer)
  return peer and say.object(look.fields(peer))
end

--- Several of them.
function look.list(peers)
  local list = {}
  for i = 1, #peers do
    list[i] = look.object(peers[i])
  end
  return say.list(list)
end

--- The present moment, as holders' times are given.
function look.now()
  return (process.clock())
end

return look
