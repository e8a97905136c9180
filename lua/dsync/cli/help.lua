-- help.lua: what --help prints, from what the commands say of themselves.

local io, ipairs, type = io, ipairs, type

local help = {}

local WIDTH = 26

local function write(out, ...)
  out:write(...)
  out:write "\n"
end

local function option_name(option)
  local name = (option.short and "-" .. option.short .. ", " or "    ") .. "--" .. option.name
  if option.kind == "wait" then
    return name .. "[=" .. option.value .. "]"
  end
  return option.value and name .. " " .. option.value or name
end

local function write_options(out, options)
  for _, option in ipairs(options) do
    local name = option_name(option)
    local text = option.help or ""
    if option.env then
      text = text .. " [" .. option.env .. "]"
    end
    if #name > WIDTH then
      write(out, "  ", name)
      name = ""
    end
    write(out, "  ", name, (" "):rep(WIDTH + 2 - #name), text)
  end
end

local function write_examples(out, examples)
  for _, example in ipairs(examples) do
    write(out, "  ", example[1])
    write(out, "      ", example[2])
  end
end

--- The help of one command.
function help.command(name, command)
  local out = io.stdout
  write(out, "Usage: dsync ", name, " ", command.usage)
  write(out, "\n", command.text, "\n")
  write(out, command.examples[2] and "Examples:" or "Example:")
  write_examples(out, command.examples)
  write(out, "\nOptions:")
  write_options(out, command.options)
  write_options(out, { require("dsync.cli.args").help })
  write(out, "\nWhere (each also from the environment):")
  write_options(out, require("dsync.cli.settings").options)
  write(out, "\nSecrets come from the environment: DSYNC_PASSWORD, DSYNC_AUTH_TOKEN, DSYNC_DIGEST. See man dsync.")
end

--- The help of all.
function help.all(main, out)
  out = out or io.stdout
  write(out, "Usage: dsync COMMAND [OPTION...] ...\n\nDistributed locks and leader election.\n\nCommands:")
  for _, name in ipairs(main.commands) do
    local command = main.command(name)
    write(out, "  ", name, (" "):rep(10 - #name), type(command) == "table" and command.summary or "")
  end
  write(out, [[

The store is --url URL or DSYNC_URL: etcd://host1,host2:2379, etcds://... (TLS), consul://host:8500,
zookeeper://host1,host2:2181, local:/path.db, ...; without either, local:, which is this host alone.

Exit codes: the command's own, 128+n when signal n ended it; 64 usage, 69 no server answers, 75 not acquired, 76 lost
while running, 77 denied, 78 configuration, 126 and 127 the command could not be run.

dsync COMMAND --help (-h, or dsync help COMMAND) says more, with examples; so does man dsync. dsync --version (-V) says
which version this is.]])
end

return help
