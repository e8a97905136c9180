-- streams.lua: when whoever has started the command is not there any more: it has closed our stdin, or reads our stdout
-- no longer. For commands that last as long as somebody wants them to.
--
-- Both become the event "closed": the exit code and the message of a command that has not yet got what it waits for.

local codes = require "dsync.cli.codes"
local dsync = require "dsync"
local process = require "dsync.process"
local scheduler = require "dsync.scheduler"

local streams = {}

--- Reports that stdin has ended; what is typed is read and forgotten.
function streams.watch_stdin(loop, message)
  scheduler.attach(0, function()
    if not process.discard(0) then
      loop:push("closed", codes.usage, message)
      return false
    end
  end)
end

--- Reports that nobody reads stdout any more, which only a pipe can tell.
function streams.watch_stdout(loop, message)
  if process.is_pipe(1) then
    scheduler.attach(1, function()
      loop:push("closed", codes.not_acquired, message)
      return false
    end)
  end
end

--- Looks once, so that what is closed already is known before anything is asked of a server.
function streams.look()
  dsync.sleep(0)
end

return streams
