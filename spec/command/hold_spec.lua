-- dsync hold and dsync elect without a command: lines on stdout for as long as it lasts.
local command = require "spec.support.command"
local suite = require "spec.support.suite"
local ok = suite.ok

before_each(command.fresh)
after_each(suite.cleanup)

describe("dsync hold", function()
  it("holds until its stdin closes", function()
    local d = command.client()
    local process = command.start { "hold", "name" }
    local _, token = assert(process:expect("^held name (%d+)$", command.patience))
    assert.equal(token, ok(d:lock("name"):holder()).token_string)
    process:write "anything\n"
    suite.pause(0.1)
    assert.truthy(d:lock("name"):holder())
    process:close_input()
    assert.equal(0, process:wait(command.patience))
    assert.is_nil((d:lock("name"):holder()))
  end)

  it("holds until nobody reads its stdout any more", function()
    local code, out = command.sh [[
      $dsync hold name </dev/zero 2>&1 | { read -r what name token; echo $what $name; }
      $dsync run --try name echo free]]
    assert.same({ 0, "held name\nfree\n" }, { code, out })
  end)

  it("serves a shell script as in its help", function()
    local code, out = command.sh [[
      coproc $dsync hold --ttl 20 name
      pid=$COPROC_PID # bash forgets it as soon as the process has ended
      read -r _ _ token <&"${COPROC[0]}" || exit 1
      $dsync status name | grep -c "token $token"
      eval "exec ${COPROC[1]}>&-"
      wait "$pid"; echo $?
      $dsync status -q name; echo $?]]
    assert.same({ 0, "1\n0\n1\n" }, { code, out })
  end)

  it("says that it was lost, and ends with 76", function()
    local d = command.client()
    local process = command.start { "hold", "--json", "name" }
    assert(process:expect('"event":"held"', command.patience))
    ok(d:break_lock("name", { token = ok(d:lock("name"):holder()).token_string }))
    assert.truthy(process:expect('"event":"lost","name":"name","reason":"broken"', command.patience))
    assert.equal(76, process:wait(command.patience))
  end)

  it("ends with 75 when it cannot have it, with 143 on SIGTERM", function()
    local process = command.start { "hold", "name" }
    assert(process:expect("^held", command.patience))
    assert.equal(75, (command.run { "hold", "--try", "name" }))
    assert.equal(9, (command.run { "hold", "--wait=0.1", "-E", "9", "name" }))
    process:signal "TERM"
    assert.equal(143, process:wait(command.patience))
    assert.equal(1, (command.run { "status", "name" }))
  end)
end)

describe("dsync elect", function()
  it("without a command prints its terms, until a signal ends it", function()
    local d = command.client()
    local process = command.start { "elect", "--id", "node-1", "role" }
    local _, token = assert(process:expect("^elected role (%d+)$", command.patience))
    local leader = ok(d:leader("role"):leader())
    assert.same({ "node-1", token }, { leader.id, leader.token_string })
    process:signal "INT"
    assert.truthy(process:expect("^revoked role resigned$", command.patience))
    assert.equal(130, process:wait(command.patience))
    assert.is_nil((d:leader("role"):leader()))
  end)

  -- What an operator does to a leader: the entry goes.
  local function depose(d)
    local role = d:leader("role")
    local token = ok(role:leader()).token_string
    ok(d:break_lock("x", { key = role:key(), token = token }))
    return token
  end

  it("ends with 76 when the term is over, or campaigns again with --forever", function()
    local d = command.client()
    local process = command.start { "elect", "role" }
    assert(process:expect("^elected role", command.patience))
    depose(d)
    assert.truthy(process:expect("^revoked role broken$", command.patience))
    assert.equal(76, process:wait(command.patience))

    process = command.start { "elect", "--forever", "--json", "role" }
    assert(process:expect('"event":"elected"', command.patience))
    local token = depose(d)
    assert.truthy(process:expect('"event":"revoked","name":"role","reason":"broken"', command.patience))
    local _, again = assert(process:expect('"event":"elected","name":"role","token":(%d+)', command.patience))
    assert.is_true(tonumber(again) > tonumber(token))
    process:signal "TERM"
    assert.equal(143, process:wait(command.patience))
  end)

  it("runs a command while elected, and its code is the command's", function()
    local code, out = command.run { "elect", "--namespace", "blue", "role", "--", "sh", "-c",
      "echo $DSYNC_LOCK; " .. command.words() .. " leader --namespace blue role >/dev/null; echo $?; exit 6" }
    assert.same({ 6, "role\n0\n" }, { code, out })
    assert.equal(1, (command.run { "leader", "--namespace", "blue", "role" }))
  end)

  it("starts the command anew in the next term, with --forever", function()
    local d = command.client()
    local process = command.start { "elect", "--forever", "role", "sh", "-c", "echo term $DSYNC_TOKEN; exec sleep 300" }
    assert(process:expect("^term", command.patience))
    depose(d)
    assert.truthy(process:expect("^term", command.patience))
    process:signal "TERM"
    assert.equal(143, process:wait(command.patience))
  end)

  it("waits as dsync run does", function()
    local d = command.client()
    ok(d:leader("role"):elect { wait = command.patience })
    assert.equal(75, (command.run { "elect", "--try", "role", "true" }))
    assert.equal(4, (command.run { "elect", "--wait=0.2", "-E", "4", "role" }))
  end)
end)
