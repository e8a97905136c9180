-- dsync run on a terminal: the command may read from it, Ctrl-C and Ctrl-Z reach it, and a shell's job control works.
local command = require "spec.support.command"
local rig = require "spec.support.rig"
local suite = require "spec.support.suite"

before_each(command.fresh)
after_each(suite.cleanup)

-- Runs words on a terminal and types; what was printed, with the exit code in its last line.
local function on_terminal(words, typed)
  local argv = { "python3", "spec/support/terminal.py" }
  for _, list in ipairs { words, { "--" }, typed } do
    for _, word in ipairs(list) do argv[#argv + 1] = word end
  end
  local code, out, err = rig.run(argv, { env = command.env(), timeout = 90 })
  assert.equal(0, code, err)
  return out
end

local function dsync(...)
  local words = { rig.interpreter(), "bin/dsync", "run" }
  for _, word in ipairs { ... } do words[#words + 1] = word end
  return words
end

local LISTENER = "trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.05; done"

describe("on a terminal, dsync run", function()
  it("lets the command read from it", function()
    local out = on_terminal(dsync("name", "bash", "-c", "echo ready; read -r line; echo got $line"),
      { "ready", "some words\\n" })
    assert.truthy(out:find "got some words\n+code 0\n$", out)
  end)

  for _, option in ipairs { "--ttl=15", "--foreground" } do
    it("lets Ctrl-C reach the command, once, with " .. option, function()
      local out = on_terminal(dsync(option, "name", "bash", "-c", LISTENER), { "ready", "\\x03" })
      assert.truthy(out:find "interrupted\n+code 5\n$", out)
    end)
  end

  it("stops with the command on Ctrl-Z, and goes on with it when the lock was held all the time", function()
    local line = command.words() .. " run name bash -c 'echo ready; sleep 0.5; echo over'"
      .. "; echo stopped; fg; echo code $?"
    local out = on_terminal({ "bash", "--norc", "-ic", "set -m; " .. line }, { "ready", "\\x1a" })
    assert.truthy(out:find("ready.*stopped\n.*over\ncode 0\n"), out)
  end)

  it("gives the terminal back", function()
    local line = command.words() .. " run name true; read -r line; echo got $line"
    local out = on_terminal({ "bash", "--norc", "-ic", "set -m; echo ready; " .. line }, { "ready", "words\\n" })
    assert.truthy(out:find("got words\n", 1, true), out)
  end)
end)
