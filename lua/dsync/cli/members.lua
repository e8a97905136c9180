-- members.lua: `dsync members`: the candidates of the elections of a namespace.

local columns = require "dsync.cli.columns"
local look = require "dsync.cli.look"
local say = require "dsync.cli.say"

local ipairs = ipairs

local members = {
  summary = "list the candidates of elections",
  usage = "[OPTION...] [NAME]",
  operands = 1,
  options = { look.namespace, look.json },
  text = "Lists leaders and candidates, in order: of all elections of the namespace, or of the election NAME.",
  examples = { { "dsync members", "all of them" }, { "dsync members --json scheduler", "of one election" } },
}

local function as_record(member)
  local fields = { { "name", member.name }, { "namespace", member.namespace }, { "role", member.role } }
  for _, field in ipairs(look.fields(member)) do
    fields[#fields + 1] = field
  end
  return say.record(fields)
end

local function list_of(client, opts, name)
  if name then
    return client:leader(name, { namespace = opts.namespace }):members()
  end
  return client:members { namespace = opts.namespace }
end

function members.main(opts, rest)
  return look.run(opts, function(client)
    local list, message, code = list_of(client, opts, rest[1])
    if not list then
      return nil, message, code
    end
    local rows, now = {}, look.now()
    for i, member in ipairs(list) do
      if opts.json then
        say.line(as_record(member))
      end
      rows[i] = { member.name, member.role, look.cells(member, now) }
    end
    if not opts.json then
      columns.print({ "NAME", "ROLE", "ID", "TOKEN", "FOR", "VALUE" }, rows)
    end
    return 0
  end)
end

return members
