-- watch.lua: `dsync watch`: elections as they change.

local columns = require "dsync.cli.columns"
local look = require "dsync.cli.look"
local say = require "dsync.cli.say"

local tostring = tostring

local watch = {
  summary = "follow elections",
  usage = "[OPTION...] [NAME]",
  operands = 1,
  options = {
    look.namespace,
    { name = "count", short = "n", kind = "number", value = "N", help = "end after N changes" },
    look.json,
  },
  text = [[
Prints the present state and then every change: of the election NAME, or of all elections of the namespace. Types of
changes: elected, vacant, joined, left, changed. After an interruption it goes on with the state that it finds.]],
  examples = {
    { "dsync watch scheduler", "who leads, from now on" },
    { "dsync watch --json | while read -r line; do ...; done", "act on every change" },
  },
}

local function as_record(event)
  return say.record {
    { "time", say.timestamp(look.now()) },
    { "type", event.type },
    { "name", event.name },
    { "namespace", event.namespace },
    { "id", event.id },
    { "token", say.digits(event.token_string) },
    { "value", event.value },
    { "missed", event.missed or nil },
  }
end

local function printer(opts)
  if opts.json then
    return function(event)
      say.line(as_record(event))
    end
  end
  local begun = look.now()
  local print_row = columns.stream({ "AFTER", "CHANGE", "NAME", "ID", "TOKEN", "VALUE" }, { 5, 7, 16, 24, 14, 0 })
  return function(event)
    local id, token, _, value = look.cells(event, begun)
    print_row { say.ago(begun, look.now()), event.type, tostring(event.name), id, token, value }
  end
end

function watch.main(opts, rest)
  return look.run(opts, function(client, answered)
    local watcher, message, code = client:watch { name = rest[1], namespace = opts.namespace }
    if not watcher then
      return nil, message, code
    end
    local show, count = printer(opts), 0
    while count ~= opts.count do
      local event
      event, message, code = watcher:next()
      if not event then
        return nil, message, code
      end
      answered()
      show(event)
      count = count + 1
    end
    return 0
  end)
end

return watch
