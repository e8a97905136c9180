-- leader.lua: `dsync leader`: who leads.

local args = require "dsync.cli.args"
local codes = require "dsync.cli.codes"
local columns = require "dsync.cli.columns"
local look = require "dsync.cli.look"
local say = require "dsync.cli.say"

local ipairs = ipairs

local leader = {
  summary = "show who leads an election",
  usage = "[OPTION...] NAME",
  operands = 1,
  options = { look.namespace, look.json },
  text = "Shows the leader of the election NAME. Exit code 0; 1 when there is none.",
  examples = { { "dsync leader scheduler", "who is it?" }, { "dsync leader --json scheduler | jq -r .id", "its id" } },
}

local function show(opts, name, one)
  if opts.json then
    local fields = { { "name", name }, { "namespace", one.namespace } }
    for _, field in ipairs(look.fields(one)) do
      fields[#fields + 1] = field
    end
    say.line(say.record(fields))
  else
    columns.print({ "ID", "TOKEN", "FOR", "VALUE" }, { { look.cells(one, look.now()) } })
  end
end

function leader.main(opts, rest)
  local name = rest[1] or args.fail "leader needs the NAME of an election"
  return look.run(opts, function(client)
    local one, message, code = client:leader(name, { namespace = opts.namespace }):leader()
    if one then
      show(opts, name, one)
      return codes.ok
    elseif code == "vacant" then
      say.message(message)
      return codes.no
    end
    return nil, message, code
  end)
end

return leader
