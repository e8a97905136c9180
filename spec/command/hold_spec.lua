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

  for how, input in pairs { ["at its end"] = "</dev/null", closed = "<&-" } do
    it("says that there is nothing to hold for when stdin is " .. how, function()
      local code, out, err = command.sh("$dsync hold name " .. input .. "; echo $?")
      assert.same({ 0, "64\n" }, { code, out })
      assert.truthy(err:find('stdin is closed: nothing to hold "name" for', 1, true), err)
      code, out = command.sh("$dsync hold -E 0 --json name 2>&1 " .. input .. "; echo $?")
      assert.equal(0, code)
      assert.truthy(out:find '"event":"failed".*stdin is closed.*\n64\n$', out)
      assert.equal(1, (command.run { "status", "name" }))
    end)
  end

  it("gives up waiting, and says so, when its stdin ends or nobody reads its stdout any more", function()
    local d = command.client()
    ok(d:lock("name"):acquire())
    local process = command.start { "hold", "name" }
    suite.until_waiting(d, "name", 1)
    process:close_input()
    assert.truthy(process:expect('stdin is closed: nothing to hold "name" for', command.patience))
    assert.equal(64, process:wait(command.patience))
    local _, out = command.sh "exec 3>&1; { $dsync hold name </dev/zero 2>&3; echo $? >&3; } | true"
    assert.truthy(out:find 'nobody reads stdout.*\n75\n$', out)
    assert.equal(0, #ok(d:lock("name"):waiters()))
  end)

  it("writes into nothing else when its stdout is closed, and hands on what is closed as it is", function()
    local code, out, err = command.sh [[$dsync locks >&-; echo $?
      $dsync run name sh -c '[ -e /proc/$$/fd/0 ] || [ -e /proc/$$/fd/1 ]; echo $? >&2' >&- <&-]]
    assert.same({ 0, "74\n" }, { code, out }, err)
    assert.truthy(err:find "could not be written: Bad file descriptor\n1\n$", err)
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
    assert.equal(75, (command.sh "$dsync hold --try name </dev/zero"))
    assert.equal(9, (command.sh "$dsync hold --wait=0.1 -E 9 name </dev/zero"))
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

  it("without a command resigns when nobody reads its stdout any more", function()
    for _, options in ipairs { "", "--forever " } do
      local code, out = command.sh("$dsync elect " .. options .. [[role </dev/null | {
          read -r what name token; echo $what; }
        echo ${PIPESTATUS[0]}
        $dsync leader role; echo $?]])
      assert.same({ 0, "elected\n0\n1\n" }, { code, out })
    end
  end)

  it("without a command gives up its campaign when nobody reads its stdout any more", function()
    local d = command.client()
    ok(d:leader("role"):elect { wait = command.patience })
    local code, out, err = command.sh "$dsync elect role </dev/null | true; echo ${PIPESTATUS[0]}"
    assert.same({ 0, "75\n" }, { code, out })
    assert.truthy(err:find("nobody reads stdout", 1, true), err)
  end)

  it("with a command does not care who reads its stdout", function()
    local code, out = command.sh "$dsync elect role -- sh -c 'sleep 0.3; exit 3' | true; echo ${PIPESTATUS[0]}"
    assert.same({ 0, "3\n" }, { code, out })
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

describe("memory: on a command line", function()
  it("is said to lock nothing for anybody else", function()
    local env = { env = { DSYNC_URL = "memory:" } }
    for _, list in ipairs { { "run", "name", "true" }, { "elect", "--json", "name", "true" } } do
      local code, out, err = command.run(list, env)
      assert.same({ 0, "" }, { code, out })
      assert.truthy(err:find("memory: is this process alone: nobody else sees", 1, true), err)
    end
    local code, _, err = command.sh("$dsync hold --url memory:x name </dev/zero | true; exit ${PIPESTATUS[0]}")
    assert.truthy(code == 0 or code == 75)
    assert.truthy(err:find("memory: is this process alone: nobody else sees", 1, true), err)
  end)
end)
