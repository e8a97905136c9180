-- locks.lua: `dsync locks`: who holds what, and how many wait.

local columns = require "dsync.cli.columns"
local look = require "dsync.cli.look"
local say = require "dsync.cli.say"

local ipairs, tostring = ipairs, tostring

local locks = {
  summary = "list locks: who holds, who waits",
  usage = "[OPTION...] [NAME-PREFIX]",
  operands = 1,
  options = { look.json },
  text = "Lists the locks that somebody holds or waits for; with NAME-PREFIX those whose names begin with it.",
  examples = {
    { "dsync locks", "all of them" },
    { "dsync locks --json reports- | jq -r .holder.id", "who holds the locks reports-..." },
  },
}

local function as_record(lock)
  return say.record {
    { "name", lock.name },
    { "key", lock.key },
    { "holder", look.object(lock.holder) },
    { "waiters", look.list(lock.waiters) },
  }
end

local function as_row(lock, now)
  local id, token, since, value = look.cells(lock.holder or { id = "-" }, now)
  return { lock.name, id, token, since, tostring(#lock.waiters), value }
end

function locks.main(opts, rest)
  return look.run(opts, function(client)
    local list, message, code = client:locks { prefix = rest[1] }
    if not list then
      return nil, message, code
    end
    table.sort(list, function(a, b)
      return a.name < b.name
    end)
    if opts.json then
      for _, lock in ipairs(list) do
        say.line(as_record(lock))
      end
      return 0
    end
    local rows, now = {}, look.now()
    for i, lock in ipairs(list) do
      rows[i] = as_row(lock, now)
    end
    columns.print({ "NAME", "HOLDER", "TOKEN", "FOR", "WAITING", "VALUE" }, rows)
    return 0
  end)
end

return locks
