-- What the specs of the command share: running bin/dsync under the Lua and on the backend under test, in a store of its
-- own (a prefix), with nothing else of dsync in its environment.

local rig = require "spec.support.rig"
local suite = require "spec.support.suite"

local command = { patience = 60 }

local prefix

-- For before_each: the commands of one test see one another, and nobody else.
function command.fresh()
  prefix = "command/" .. suite.random_hex(8)
end

local CLEAN = {
  "DSYNC_ID", "DSYNC_REGION", "DSYNC_USER", "DSYNC_PASSWORD", "DSYNC_AUTH_TOKEN", "DSYNC_AUTH_TOKEN_FILE",
  "DSYNC_TLS_CA", "DSYNC_TLS_CERT", "DSYNC_TLS_KEY", "DSYNC_TLS_SERVER_NAME", "DSYNC_NAMESPACE", "DSYNC_LOCK",
  "DSYNC_TOKEN", "DSYNC_KEY", "DSYNC_TTL", "DSYNC_DIGEST",
}

-- The environment of a command: empty variables count as unset.
function command.env(more)
  local env = { DSYNC_URL = suite.url, DSYNC_PREFIX = prefix }
  for _, name in ipairs(CLEAN) do env[name] = "" end
  for name, value in pairs(more or {}) do env[name] = value end
  return env
end

-- A client of the test's own on the same keys; suite.cleanup() closes it.
function command.client(options)
  options = options or {}
  options.prefix = prefix
  return suite.open(options)
end

-- The words with which a shell runs dsync.
function command.words()
  return rig.interpreter() .. " bin/dsync"
end

-- Signals that this test run itself was told to ignore (nohup, a job in the background) are not ignored by dsync.
local DEFAULT_SIGNALS = { "env", "--default-signal=HUP,INT,QUIT,TERM,USR1,USR2,PIPE" }

local function words_of(list)
  local words = { DEFAULT_SIGNALS[1], DEFAULT_SIGNALS[2], rig.interpreter(), "bin/dsync" }
  for _, word in ipairs(list) do words[#words + 1] = word end
  return words
end

-- Runs `dsync` with these arguments to its end: exit code, stdout, stderr. options: as for rig.run.
function command.run(list, options)
  options = options or {}
  local env = command.env(options.env)
  return rig.run(words_of(list), { env = env, input = options.input, timeout = command.patience })
end

-- Runs a line of a shell in which $dsync is the command.
function command.sh(line, options)
  options = options or {}
  local env = command.env(options.env)
  env.dsync = command.words()
  local words = { DEFAULT_SIGNALS[1], DEFAULT_SIGNALS[2], "bash", "-c", line }
  return rig.run(words, { env = env, input = options.input, timeout = command.patience })
end

-- Starts `dsync` in the background. Standard error comes with its lines unless `log` names a file for it.
function command.start(list, options)
  options = options or {}
  return rig.start(words_of(list), { env = command.env(options.env), log = options.log, merge = options.log == nil })
end

-- Whether a process lives (a zombie does not).
function command.lives(pid)
  local stat = rig.read("/proc/" .. pid .. "/stat")
  return stat ~= nil and stat ~= "" and not stat:find "%) [ZX] "
end

-- Waits until a process is gone.
function command.until_gone(pid)
  suite.eventually("end of process " .. pid, function() return not command.lives(pid) end)
end

-- Waits until somebody holds the lock `name`, or until nobody does.
function command.until_held(client, name, wanted)
  suite.eventually(name .. (wanted == false and " is free" or " is held"), function()
    return (client:lock(name):holder() ~= nil) == (wanted ~= false)
  end)
end

return command
