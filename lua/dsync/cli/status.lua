-- status.lua: `dsync status`: is this lock held?

local args = require "dsync.cli.args"
local codes = require "dsync.cli.codes"
local look = require "dsync.cli.look"
local say = require "dsync.cli.say"

local status = {
  summary = "tell whether a lock is held",
  usage = "[OPTION...] NAME",
  operands = 1,
  options = {
    { name = "key", kind = "text", value = "KEY", help = "the whole key on the server instead of NAME's" },
    { name = "quiet", short = "q", kind = "flag", help = "only the exit code" },
    look.json,
  },
  text = "Exit code 0 when somebody holds the lock NAME, 1 when it is free.",
  examples = {
    { "dsync status nightly-report", "who holds it?" },
    { "dsync status -q backup || echo idle", "in a script" },
  },
}

local function sentence(name, holder, waiters)
  if not holder then
    return name .. " is free"
  end
  local id, token, since, value = look.cells(holder, look.now())
  local text = name .. " is held by " .. id .. ", token " .. token
  text = since ~= "" and text .. ", for " .. since or text
  text = value ~= "" and text .. ", value " .. value or text
  return #waiters > 0 and text .. "; " .. #waiters .. " waiting" or text
end

function status.main(opts, rest)
  local name = rest[1] or args.fail "status needs the NAME of a lock"
  return look.run(opts, function(client)
    local lock = client:lock(name, { key = opts.key })
    local holder, message, code = lock:holder()
    if not holder and code ~= "vacant" then
      return nil, message, code
    end
    local waiters = {}
    if not opts.quiet then
      waiters, message, code = lock:waiters()
      if not waiters then
        return nil, message, code
      end
    end
    if opts.json then
      say.line(say.record {
        { "name", name }, { "held", holder ~= nil }, { "holder", look.object(holder) },
        { "waiters", look.list(waiters) },
      })
    elseif not opts.quiet then
      say.line(say.safe(sentence(name, holder, waiters)))
    end
    return holder and codes.ok or codes.no
  end)
end

return status
