-- run.lua: `dsync run`: a program under a lock.

local args = require "dsync.cli.args"
local loops = require "dsync.cli.loop"
local work = require "dsync.cli.work"

local run = {
  summary = "run a command under a lock",
  usage = "[OPTION...] NAME [--] CMD [ARGUMENT...]",
  options = work.options,
  leading = true,
  text = [[
Takes the lock NAME, runs CMD, and releases the lock when CMD has ended. Options end at NAME; what follows is CMD's.
CMD finds DSYNC_LOCK, DSYNC_TOKEN (the fencing token), DSYNC_KEY and DSYNC_TTL in its environment.

If the lock is lost, CMD gets SIGTERM, and SIGKILL before anybody else can have the lock; then the exit code is 76. CMD
is killed, too, when dsync is killed, or stopped for so long that the lock is lost. Signals go on to CMD's process
group; a second SIGTERM kills it.]],
  examples = {
    { "dsync run nightly-report ./report.sh", "one at a time, over all hosts that share DSYNC_URL" },
    { "dsync run --try -E 0 backup -- rsync -a /data backup:", "skip it, successfully, when it runs elsewhere" },
    { "dsync run --wait=30 -c 'make && make install' build", "wait at most 30 s; a line for the shell" },
  },
}

function run.main(opts, rest)
  local name = table.remove(rest, 1)
  local arguments = work.command_of(opts, rest)
  if not name then
    args.fail "run needs a NAME and a command"
  elseif #arguments == 0 then
    args.fail("run: what shall run under the lock " .. name .. "?")
  end
  local tell = work.teller(opts, name)
  loops.run(function(loop)
    return work.with(opts, "lock", name, tell, function(client, lock)
      return (work.once(client, loop, lock, "acquire", opts, arguments, tell))
    end)
  end)
end

return run
