-- dsync run: what becomes of the child's exit code, arguments, streams and environment.
local command = require "spec.support.command"
local rig = require "spec.support.rig"
local suite = require "spec.support.suite"

local unpack = table.unpack or unpack -- luacheck: globals unpack

before_each(command.fresh)
after_each(suite.cleanup)

describe("the exit code of dsync run", function()
  it("is the child's, whatever it is", function()
    local code, out, err = command.sh [[
      for code in 0 1 2 3 63 64 65 69 70 75 76 77 78 100 125 126 127 128 129 130 137 143 200 254 255; do
        $dsync run name sh -c "exit $code"
        [ $? = $code ] || echo "$code became $?"
      done]]
    assert.same({ 0, "", "" }, { code, out, err })
  end)

  it("is 128 and the signal that ended it", function()
    for name, number in pairs { HUP = 1, INT = 2, QUIT = 3, KILL = 9, USR1 = 10, SEGV = 11, TERM = 15 } do
      assert.equal(128 + number, (command.run { "run", "name", "sh", "-c", "kill -" .. name .. " $$" }), name)
    end
  end)

  local table_of = {
    { "no command", 64, { "run" } },
    { "no program", 64, { "run", "name" } },
    { "no such command", 64, { "walk" } },
    { "an unknown option", 64, { "run", "--tyr", "name", "true" } },
    { "an option without its value", 64, { "run", "--ttl" } },
    { "a value that is none", 64, { "run", "--ttl", "soon", "name", "true" } },
    { "a word that is not among those allowed", 64, { "run", "--on-lost=pray", "name", "true" } },
    { "a time behind --wait", 64, { "run", "--wait", "5", "name", "true" } },
    { "a time with a unit behind --wait", 64, { "elect", "--wait", "2.5m", "name", "true" } },
    { "a flag with a value", 64, { "run", "--try=1", "name", "true" } },
    { "an exit code that is none", 64, { "run", "-E", "256", "name", "true" } },
    { "a name that is none", 64, { "run", "/name", "true" } },
    { "an option of open that is none", 64, { "run", "-o", "tls.colour=red", "name", "true" } },
    { "an option of open that nobody knows", 64, { "run", "--option", "speed=9", "name", "true" } },
    { "a secret on the command line", 64, { "run", "-o", "auth.password=x", "name", "true" } },
    { "a scheme that nobody knows", 78, { "run", "--url", "gopher://127.0.0.1", "name", "true" } },
    { "a ttl that no store takes", 78, { "run", "--ttl", "0.001", "name", "true" } },
    { "a program that is not there", 127, { "run", "name", "/no/such/program" } },
    { "a program that is not in the path", 127, { "run", "name", "no-such-program" } },
    { "a program that cannot be run", 126, { "run", "name", "/etc/passwd" } },
    { "a folder as a program", 126, { "run", "name", "/" } },
  }

  for _, row in ipairs(table_of) do
    it("is " .. row[2] .. " for " .. row[1], function()
      local code, out, err = command.run(row[3])
      assert.equal(row[2], code, err)
      assert.equal("", out)
      assert.truthy(err:find "^dsync: %S")
      assert.is_nil(err:find "traceback")
    end)
  end

  it("comes with a hint: what was meant, and where it is described", function()
    for _, row in ipairs {
      { { "run", "--wait", "5", "nightly", "true" }, "--wait 5: did you mean --wait=5? (see dsync run --help)" },
      { { "hold", "--wait", "500ms", "x" }, "--wait 500ms: did you mean --wait=500ms? (see dsync hold --help)" },
      { { "run", "--tyr", "name", "true" }, "unknown option --tyr: did you mean --try? (see dsync run --help)" },
      { { "run", "--on_lost=kill", "x", "true" },
        "unknown option --on_lost: did you mean --on-lost? (see dsync run --help)" },
      { { "run", "--timeout=3", "x", "true" },
        "unknown option --timeout: did you mean --wait? (see dsync run --help)" },
      { { "locks", "--colour" }, "unknown option --colour (see dsync locks --help)" },
      { { "locks", "-Q" }, "unknown option -Q (see dsync locks --help)" },
      { { "sttus", "name" }, 'there is no command "sttus": did you mean status? (see dsync --help)' },
      { { "walk" }, 'there is no command "walk" (see dsync --help)' },
      { { "help", "foo" }, 'there is no command "foo" (see dsync --help)' },
      { { "help", "elects" }, 'there is no command "elects": did you mean elect? (see dsync --help)' },
    } do
      local code, out, err = command.run(row[1])
      assert.same({ 64, "", "dsync: " .. row[2] .. "\n" }, { code, out, err })
    end
  end)

  it("comes with a message in the words of the command line", function()
    local far = "etcd://192.0.2.1"
    local slash = 'must not begin with "/": write "x" (where it lies is set by --prefix'
    for _, row in ipairs {
      { 78, { "locks", "--user", "x" }, "--user (DSYNC_USER) needs the password in DSYNC_PASSWORD" },
      { 78, { "run", "--tls-cert", "/x", "name", "true" }, "--tls-cert and --tls-key belong together: " },
      { 78, { "run", "--url", far, "--user", "x", "name", "true" }, "or give -o allow_plaintext_credentials=true\n" },
      { 78, { "locks", "--url", "consul://192.0.2.1" }, "or give -o allow_plaintext_credentials=true\n" },
      { 78, { "locks", "--url", "consul://192.0.2.1", "--user", "x" }, "give DSYNC_AUTH_TOKEN or --token-file\n" },
      { 64, { "run", "--ttl", "0", "name", "true" }, "--ttl must be more than 0 seconds, got 0 (see dsync run" },
      { 64, { "bench", "--ttl", "0" }, "--ttl must be more than 0 seconds, got 0 (see dsync bench --help)" },
      { 78, { "run", "--ttl", "1ms", "name", "true" }, "--ttl of 0.001 s: " },
      { 64, { "locks", "-o", "connect_timeout=0" }, "-o connect_timeout must be more than 0 seconds" },
      { 64, { "run", "/x", "true" }, "NAME " .. slash .. " or --key) (see dsync run --help)" },
      { 64, { "status", "/x" }, "NAME " .. slash .. " or --key) (see dsync status --help)" },
      { 64, { "watch", "/x" }, "NAME " .. slash .. ") (see dsync watch --help)" },
      { 64, { "elect", "--namespace", "/x", "name" }, "--namespace " .. slash .. ") (see dsync elect --help)" },
      { 64, { "members", "--namespace", "/x" }, "--namespace " .. slash .. ") (see dsync members --help)" },
      { 64, { "run", "--key", "", "name", "true" }, "--key is empty: give it 1 to" },
      { 64, { "run", "", "true" }, "NAME is empty: give it 1 to" },
      { 64, { "break", "name", "--token", "0" }, "--token: give the holder's token (see dsync break --help)" },
      { 78, { "locks", "--prefix", "//x" }, '--prefix has an empty segment ("//")' },
    } do
      local env = row[2][2] == "--url" and { DSYNC_PASSWORD = "p", DSYNC_AUTH_TOKEN = "t" } or nil
      local code, out, err = command.run(row[2], { env = env })
      assert.same({ row[1], "" }, { code, out }, err)
      assert.truthy(err:find(row[3], 1, true), err)
    end
    local nowhere = "etcd://0.0.0.0:" .. rig.ports(1)[1]
    local list = { "locks", "--url", nowhere, "--user", "x" }
    local env = { env = { DSYNC_PASSWORD = "p" } }
    assert.equal(78, (command.run(list, env)))
    list[6], list[7] = "-o", "allow_plaintext_credentials=true"
    assert.equal(69, (command.run(list, env)))
  end)

  it("does not leave the lock behind, whatever it was", function()
    command.run { "run", "name", "/no/such/program" }
    command.run { "run", "name", "false" }
    assert.equal(0, (command.run { "run", "--try", "name", "true" }))
  end)
end)

describe("the program", function()
  it("gets its arguments as they are, also those that look like options", function()
    local words = { "a b", "--try", "", "-c", "$HOME", "--", "'\n" }
    local _, out = command.run { "run", "--try", "a name", "printf", "<%s>", unpack(words) }
    assert.equal("<" .. table.concat(words, "><") .. ">", out)
  end)

  it("may follow a --", function()
    local code, out = command.run { "run", "name", "--", "printf", "%s|", "--", "x" }
    assert.same({ 0, "--|x|" }, { code, out })
    code, out = command.run { "run", "--", "name", "printf", "%s|", "x" }
    assert.same({ 0, "x|" }, { code, out })
    code, out = command.run { "run", "--wait", "--", "5", "sh", "-c", "echo $DSYNC_LOCK" }
    assert.same({ 0, "5\n" }, { code, out })
    code, out = command.run { "run", "--wait", "five", "sh", "-c", "echo $DSYNC_LOCK" }
    assert.same({ 0, "five\n" }, { code, out })
  end)

  it("is a line for the shell only when asked", function()
    local code, out = command.run { "run", "-c", "echo \"$1\" | tr a-z A-Z; exit 3", "name", "a  b" }
    assert.same({ 3, "A  B\n" }, { code, out })
    code, out = command.run { "run", "name", "echo", "a | tr a-z A-Z" }
    assert.same({ 0, "a | tr a-z A-Z\n" }, { code, out })
  end)

  it("reads dsync's stdin to its end, and has its stdout for itself", function()
    local text = ("0123456789abcde\n"):rep(5000)
    local code, out, err = command.run({ "run", "name", "cat" }, { input = text })
    assert.same({ 0, true, "" }, { code, out == text, err })
    code, out, err = command.run { "run", "--json", "name", "sh", "-c", "echo out; echo err >&2" }
    assert.same({ 0, "out\n" }, { code, out })
    assert.truthy(err:find("err\n", 1, true))
  end)

  it("is told lock, token, key and ttl, not what an outer dsync told us", function()
    local code, out, err = command.run({
      "run", "--ttl", "20", "outer", "sh", "-c",
      command.words() .. " run inner env; env",
    }, { env = { DSYNC_LOCK = "stale", DSYNC_TOKEN = "1", DSYNC_KEY = "stale", DSYNC_TTL = "1" } })
    assert.equal(0, code, err)
    local seen = {}
    for line in out:gmatch "[^\n]+" do
      local name, value = line:match "^(DSYNC_%u+)=(.*)$"
      if name then
        seen[name] = seen[name] or {}
        table.insert(seen[name], value)
      end
    end
    assert.same({ "inner", "outer" }, seen.DSYNC_LOCK)
    assert.same({ "15", "20" }, seen.DSYNC_TTL)
    assert.truthy(seen.DSYNC_KEY[1]:find "/lock/inner$")
    assert.truthy(seen.DSYNC_KEY[2]:find "/lock/outer$")
    assert.truthy(seen.DSYNC_TOKEN[1]:find "^%d+$")
    assert.truthy(tonumber(seen.DSYNC_TOKEN[1]) > 1)
  end)

  it("inherits nothing of dsync's: descriptors, blocked or ignored signals", function()
    -- Of the signals below 32: what libc does with its own ones is its own business.
    local line = "ls /proc/self/fd | wc -l; "
      .. "grep -E 'SigBlk|SigIgn' /proc/self/status | sed 's/\t.*[08-9a-f]\\(.......\\)$/\\1/'"
    local _, out = command.sh("$dsync run name sh -c " .. rig.quoted(line))
    local _, plain = command.sh(line)
    assert.equal(plain, out)
  end)

  it("keeps ignoring what was ignored before, as under nohup", function()
    local code, out = command.sh [[trap '' HUP; $dsync run name sh -c 'kill -HUP $$; echo lives']]
    assert.same({ 0, "lives\n" }, { code, out })
  end)

  it("has the lock: others do not", function()
    local d = command.client()
    local code, out = command.run { "run", "--value", "nightly", "name", "sh", "-c",
      command.words() .. " status name; " .. command.words() .. " run --try name true; echo $?" }
    assert.equal(0, code)
    assert.truthy(out:find("name is held by", 1, true))
    assert.truthy(out:find("value nightly", 1, true))
    assert.truthy(out:find "\n75\n$")
    assert.is_nil((d:lock("name"):holder()))
  end)

  it("may use another key, that of another program", function()
    local key = "shared/" .. suite.random_hex(4)
    local _, out = command.run { "run", "--key", key, "name", "sh", "-c", "echo $DSYNC_KEY" }
    assert.equal(key .. "\n", out)
  end)
end)

describe("the messages of dsync run --json", function()
  it("are one object per line, with times", function()
    local json = require "dsync.json"
    local code, _, err = command.run { "run", "--json", "a \"name\"", "sh", "-c", "exit 4" }
    assert.equal(4, code)
    local events = {}
    for line in err:gmatch "[^\n]+" do events[#events + 1] = assert(json.decode(line), line) end
    assert.equal("acquired", events[1].event)
    assert.equal("a \"name\"", events[1].name)
    assert.truthy(events[1].token > 0)
    assert.truthy(events[1].time:find "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$")
    assert.same({ "exited", 4 }, { events[2].event, events[2].code })
    assert.is_nil(events[3])
  end)
end)
