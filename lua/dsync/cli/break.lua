-- break.lua: `dsync break`: takes a lock away from its holder.

local args = require "dsync.cli.args"
local codes = require "dsync.cli.codes"
local look = require "dsync.cli.look"
local say = require "dsync.cli.say"

local break_lock = {
  summary = "take a lock away from its holder",
  usage = "[OPTION...] NAME --token T",
  operands = 1,
  options = {
    { name = "token", kind = "token", value = "T", help = "of the holder that shall lose it (see dsync status)" },
    { name = "key", kind = "text", value = "KEY", help = "the whole key on the server instead of NAME's" },
    look.json,
  },
  text = [[
Releases the lock NAME by force, but only if its token is still T, so that nobody else loses it. The holder, if it
lives, learns that its lock was broken. Exit code 1 when the token is not T any more.]],
  examples = { { "dsync break backup --token 184", "184 is what dsync status backup has shown" } },
}

function break_lock.main(opts, rest)
  local name = rest[1] or args.fail "break needs the NAME of a lock"
  if not opts.token then
    args.fail "break needs --token: the token of the holder that shall lose the lock; dsync status shows it"
  end
  return look.run(opts, function(client)
    local ok, message, code = client:break_lock(name, { token = opts.token, key = opts.key })
    if not ok and code ~= "not_held" then
      return nil, message, code
    elseif opts.json then
      say.line(say.record { { "name", name }, { "token", say.digits(opts.token) }, { "broken", ok == true } })
    elseif ok then
      say.line(say.safe(name), ": broken")
    else
      say.message(message)
    end
    return ok and codes.ok or codes.no
  end)
end

return break_lock
