-- Help, completion, the manual page and the launcher: what people see before anything is locked.
local command = require "spec.support.command"
local main = require "dsync.cli.main"
local rig = require "spec.support.rig"
local settings = require "dsync.cli.settings"
local suite = require "spec.support.suite"

before_each(command.fresh)
after_each(suite.cleanup)

local function options_of(name)
  local list = {}
  for _, options in ipairs { main.command(name).options, settings.options } do
    for _, option in ipairs(options) do list[#list + 1] = option end
  end
  return list
end

-- The same as a set of names, with --help.
local function set_of_options(name)
  local set = { help = true }
  for _, option in ipairs(options_of(name)) do set[option.name] = true end
  return set
end

describe("dsync --help", function()
  it("lists every command; without arguments that is a usage error", function()
    for _, list in ipairs { { "--help" }, { "help" }, { "-h" } } do
      local code, out = command.run(list)
      assert.equal(0, code)
      for _, name in ipairs(main.commands) do assert.truthy(out:find("\n  " .. name .. " ", 1, true), name) end
    end
    local code, out, err = command.run {}
    assert.same({ 64, "" }, { code, out })
    assert.truthy(err:find("Usage: dsync COMMAND", 1, true))
    assert.truthy(select(2, command.run { "--version" }):find "^dsync %d+%.%d+%.%d+\n$")
  end)

  for _, name in ipairs(main.commands) do
    it("of " .. name .. " shows its options and an example, within 120 columns", function()
      local code, out, err = command.run { name, "--help" }
      assert.same({ 0, "" }, { code, err })
      assert.equal(out, (select(2, command.run { "help", name })))
      assert.truthy(out:find("\nExamples?:\n  "), out)
      local listed = {}
      for option in out:gmatch "\n  [-%a, ]*%-%-([%l-]+)" do listed[option] = true end
      assert.same(set_of_options(name), listed)
      for _, option in ipairs(options_of(name)) do assert.truthy(#(option.help or "") > 3, option.name) end
      for line in out:gmatch "[^\n]+" do assert.is_true(#line <= 120, line) end
    end)
  end
end)

describe("a word too many", function()
  local least = {
    hold = { "a" }, leader = { "a" }, members = { "a" }, locks = { "a" }, watch = { "a" }, status = { "a" },
    ["break"] = { "a", "--token", "1" }, doctor = {}, bench = {},
  }
  for name, list in pairs(least) do
    it("behind " .. name .. " is a usage error that names it", function()
      local code, out, err = command.run { name, "surplus", (table.unpack or unpack)(list) } -- luacheck: globals unpack
      assert.same({ 64, "" }, { code, out }, err)
      assert.truthy(err:find('"' .. (list[1] or "surplus") .. '"', 1, true), err)
    end)
  end
end)

-- What the manual says: command -> set of its options. A section is "Of run and elect", "Of the others" or about all
-- commands; a text that begins with "(watch, status)" is about these alone.
local function manual()
  local known, heading, tag = {}, nil, nil
  for _, name in ipairs(main.commands) do known[name] = {} end
  local text = rig.read("man/dsync.1"):gsub("\\%-", "-"):match "\n%.SH OPTIONS\n(.-)\n%.SH "
  for line in text:gmatch "[^\n]+" do
    if line:find "^%.SS " then
      heading = line:match "^%.SS Of (.*)$" or "all"
    elseif tag == "next" then
      tag = line
    elseif line == ".TP" then
      tag = "next"
    elseif tag then
      local about = line:match "^%((%l[%l, ]*)%) " or heading
      for _, name in ipairs(main.commands) do
        for option in tag:gmatch "%-%-([%l-]+)" do
          if about == "all" or (" " .. about:gsub(",", "") .. " "):find(" " .. name .. " ", 1, true) then
            known[name][option] = true
          end
        end
      end
      tag = nil
    end
  end
  return known
end

describe("what is installed beside the command", function()
  it("names each command's options with that command, in the manual", function()
    local known = manual()
    for _, name in ipairs(main.commands) do assert.same(set_of_options(name), known[name], name) end
    local text = rig.read("man/dsync.1"):gsub("\\%-", "-")
    for _, option in ipairs { "--version", "-V", "-h" } do assert.truthy(text:find(option, 1, true), option) end
    assert.truthy(text:find(".B dsync help\n", 1, true))
  end)

  it("has every option in it: both completions and the manual", function()
    for _, file in ipairs { "completions/dsync.bash", "completions/_dsync", "man/dsync.1" } do
      local text = rig.read(file):gsub("\\%-", "-")
      for _, name in ipairs(main.commands) do
        assert.truthy(text:find(name, 1, true), file .. " does not know " .. name)
        for _, option in ipairs(options_of(name)) do
          assert.truthy(text:find("--" .. option.name, 1, true), file .. " does not know --" .. option.name)
        end
      end
    end
  end)

  it("is a manual that renders without a warning", function()
    local line = "command -v groff >/dev/null || exit 3; groff -man -Tutf8 -ww man/dsync.1"
    local code, out, err = rig.run { "sh", "-c", line }
    if code == 3 then
      pending "no groff here"
      return
    end
    assert.same({ 0, "" }, { code, err })
    assert.truthy(out:find("distributed locks and leader election", 1, true))
  end)

  it("completes commands, options, values and commands to run, in bash", function()
    local function complete(...)
      local words = { ... }
      local code, out, err = rig.run({ "bash", "-c", [[
        source completions/dsync.bash
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _dsync
        printf '%s\n' "${COMPREPLY[@]}"]], "bash", (table.unpack or unpack)(words) }) -- luacheck: globals unpack
      assert.same({ 0, "" }, { code, err })
      return "\n" .. out
    end
    assert.truthy(complete("dsync", "lo"):find("\nlocks\n", 1, true))
    assert.truthy(complete("dsync", "run", "--on"):find("\n--on-lost\n", 1, true))
    assert.truthy(complete("dsync", "run", "--on-lost", "k"):find("\nkill\n", 1, true))
    assert.truthy(complete("dsync", "run", "--ttl", "5", "name", "ech"):find("\necho\n", 1, true))
    assert.is_nil(complete("dsync", "locks", "--on"):find("on-lost", 1, true))
    assert.truthy(complete("dsync", "watch", "--c"):find("\n--count\n", 1, true))
    for _, name in ipairs(main.commands) do
      local offered = {}
      for option in complete("dsync", name, "--"):gmatch "%-%-([%l-]+)" do offered[option] = true end
      assert.same(set_of_options(name), offered, name)
    end
    assert.truthy(complete("dsync", "run", "--url", "l"):find("\nlocal:\n", 1, true))
    assert.is_nil(complete("dsync", "run", "--url", ""):find("memory", 1, true))
  end)
end)

describe("the launcher", function()
  local out_of = "env -u LUA_PATH -u LUA_CPATH -u LUA_PATH_5_4 -u LUA_CPATH_5_4 "

  it("finds a Lua and the modules in a source tree, from anywhere, also through a link", function()
    local folder = rig.tempdir()
    local line = "ln -s \"$PWD/bin/dsync\" " .. folder .. "/ds && here=$PWD && cd / && "
      .. out_of .. folder .. "/ds run name echo linked && " .. out_of .. "\"$here/bin/dsync\" run name echo direct"
    local code, out, err = rig.run({ "sh", "-c", line }, { env = { DSYNC_URL = "local:" .. folder .. "/db" } })
    assert.same({ 0, "linked\ndirect\n", "" }, { code, out, err })
  end)

  it("works as make install has put it, with its manual and completions", function()
    local prefix = rig.tempdir() .. "/usr"
    local line = "make -s install PREFIX=" .. prefix .. " && cd / && "
      .. out_of .. prefix .. "/bin/dsync run name echo installed"
    local code, out, err = rig.run({ "sh", "-c", line },
      { env = { DSYNC_URL = "local:" .. prefix .. "/db" }, timeout = 120 })
    assert.same({ 0, "installed\n" }, { code, out }, err)
    for _, file in ipairs { "man/man1/dsync.1", "bash-completion/completions/dsync", "zsh/site-functions/_dsync" } do
      assert.truthy(rig.read(prefix .. "/share/" .. file), file)
    end
  end)
end)
