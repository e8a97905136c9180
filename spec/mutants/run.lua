-- run.lua [--short] [NAME,NAME...]: does a test notice each deliberate bug? One build (make.lua) has them all; each run
-- of a test chooses one by DSYNC_MUTANT. First the judge of the simulator is judged, and everything must pass with no
-- mutant chosen. Then, for each mutant, the test expected to notice it, and if that does not, all the others. A mutant
-- that nothing notices is a failure of the tests. The report is build/reports/mutants.json; what was printed is in
-- build/log-mutants.

package.path = "./?.lua;" .. package.path
local list = require "spec.mutants.list"

local LOG = "build/log-mutants"
local LIMIT_S = 60 -- for one test program: a mutant may hang
local BUILD = "build/mutants"

-- One breach of each kind, each noticed within moments.
local SHORT = {
  margin_sign = true, deadline_from_receipt = true, flag_held = true, loss_twice = true, local_order = true,
  claim_before_confirm = true, blind_retry = true, epoch_not_bumped = true, confirm_missing = true,
  int64_as_double = true,
}

local short, wanted = false, nil
for _, word in ipairs(arg) do
  if word == "--short" then short = true else
    wanted = wanted or {}
    for name in word:gmatch "[^,%s]+" do wanted[name] = true end
  end
end

-- ---- running --------------------------------------------------------------------------------------------------------

local function read(path)
  local file = io.open(path)
  local text = file and file:read "*a" or ""
  if file then file:close() end
  return text
end

local function now()
  local file = assert(io.open "/proc/uptime")
  local seconds = file:read "*n"
  file:close()
  return seconds
end

-- Exit status of a shell command with the mutant chosen; 124: it did not end.
local function run(mutant, command, limit)
  local _, _, code = os.execute(("DSYNC_MUTANT=%s timeout -k 5 %d sh -c '%s' >%s/%s.out 2>&1 </dev/null"):format(mutant,
    limit or LIMIT_S, command, LOG, mutant))
  return code
end

local function make(target)
  if not os.execute("make -s " .. target) then error("cannot build " .. target, 0) end
end

-- What the output of a failed test says it was.
local function first_failure(mutant, code)
  local text = read(LOG .. "/" .. mutant .. ".out")
  local last = text:match "([^\n]+)\n*$"
  return text:match "FAILED ([%w_]+)" or text:match "violations[^\n]*\n%s+(.-)%s+%d+\n"
    or text:match "Failure [^\n]*\n([^\n]*)" or text:match "Error [^\n]*\n([^\n]*)" or text:match "Assertion [^\n]*"
    or (code == 124 or code == 137) and "did not end" or last or "exit status " .. code
end

-- ---- stages: each notices a mutant (returns where and what) or does not ---------------------------------------------

local units = {}
do
  local found = io.popen "ls spec/unit/test_*.c"
  for path in found:lines() do units[#units + 1] = path:match "([%w_]+)%.c$" end
  found:close()
end

local function notices(mutant, name, command, limit)
  local code = run(mutant, command, limit)
  if code == 0 then return nil end
  return name, first_failure(mutant, code)
end

local function unit(mutant, program)
  make(BUILD .. "/unit/" .. program)
  return notices(mutant, program, "exec " .. BUILD .. "/unit/" .. program)
end

local function all_units(mutant)
  for _, program in ipairs(units) do
    local by, what = unit(mutant, program)
    if by then return by, what end
  end
end

local function sim(mutant)
  make(BUILD .. "/sim/sim")
  return notices(mutant, "sim", ("exec %s/sim/sim --seeds %d --seconds %d"):format(BUILD, short and 50 or 400,
    LIMIT_S - 20))
end

local function conformance(backend)
  return function(mutant)
    make(BUILD .. "/lua5.4/dsync/core.so")
    return notices(mutant, "conformance " .. backend,
      "BUILD=" .. BUILD .. " exec script/lib/spec 5.4 " .. backend .. " spec/conformance", 300)
  end
end

local function contract(server)
  return function(mutant)
    local programs = {}
    local found = io.popen("ls spec/contract/test_" .. server:match "^%a+" .. "_*.c")
    for path in found:lines() do programs[#programs + 1] = BUILD .. "/contract/" .. path:match "([%w_]+)%.c$" end
    found:close()
    make(table.concat(programs, " "))
    return notices(mutant, "contract " .. server,
      "SERVERS=" .. server .. " exec script/lib/contract " .. table.concat(programs, " "), 200)
  end
end

local stages = {
  { name = "unit", run = all_units },
  { name = "sim", run = sim },
  { name = "memory", run = conformance "memory" },
  { name = "contract", run = contract "etcd-3.4" },
  { name = "consul", run = contract "consul-1.8" },
  { name = "etcd", run = conformance "etcd-3.4" },
}

local function expected(mutant)
  if mutant.by:find "^test_" then return unit(mutant.name, mutant.by) end
  for _, stage in ipairs(stages) do
    if stage.name == mutant.by then return stage.run(mutant.name) end
  end
  error("mutant " .. mutant.name .. ": no test " .. mutant.by, 0)
end

-- A test that was not expected to notice must do so twice: it might have failed for another reason.
local function unexpected(mutant)
  for _, stage in ipairs(stages) do
    if stage.name ~= mutant.by and not (short and stage.name ~= "unit") then
      local by, what = stage.run(mutant.name)
      if by and stage.run(mutant.name) then return by, what end
    end
  end
end

-- ---- the campaign ---------------------------------------------------------------------------------------------------

local function text(value)
  return "\"" .. value:gsub("[\"\\]", "\\%0"):gsub("%c", " ") .. "\""
end

local function report(results, judged, seconds)
  local commit = io.popen "git rev-parse --short HEAD 2>/dev/null"
  local file = assert(io.open("build/reports/mutants.json", "w"))
  file:write("{\n  \"campaign\": \"mutants\",\n  \"commit\": ", text(commit:read "*l" or "unknown"),
    ",\n  \"seconds\": ", ("%.0f"):format(seconds), ",\n  \"checker\": ", text(judged), ",\n  \"mutants\": [")
  for i, result in ipairs(results) do
    local mutant = result.mutant
    file:write(i > 1 and "," or "", "\n    {\"name\": ", text(mutant.name), ", \"subject\": ", text(mutant.subject),
      ", \"rule\": ", text(mutant.rule), ", \"breaks\": ", text(mutant.breaks),
      ", \"caught_by\": ", result.by and text(result.by) or "null",
      ", \"as\": ", result.what and text(result.what) or "null",
      ", \"simulation\": ", result.seen and text(result.seen) or "null", "}")
  end
  file:write "\n  ]\n}\n"
  file:close()
  commit:close()
end

local function begin()
  os.execute("rm -rf " .. LOG .. " && mkdir -p " .. LOG .. " build/reports")
  make "build/sim/judge"
  local judge = io.popen "build/sim/judge"
  local judged = judge:read "*l"
  if not judge:close() then error("the simulator's judge errs: " .. tostring(judged), 0) end
  print(judged)
  for _, stage in ipairs(stages) do
    if not (short or wanted) or stage.name == "sim" then
      local by, what = stage.run "none"
      if by then error(("with no mutant chosen %s fails: %s"):format(by, what), 0) end
    end
  end
  return judged
end

local function chosen(mutant)
  if wanted then return wanted[mutant.name] end
  return not short or SHORT[mutant.name]
end

local started, results, caught = now(), {}, 0
local judged = begin()
for _, mutant in ipairs(list) do
  if chosen(mutant) then
    local by, what = expected(mutant)
    if not by then by, what = unexpected(mutant) end
    local _, seen = nil, nil
    if mutant.sim and not short then _, seen = sim(mutant.name) end
    local fine = by and (seen or short or not mutant.sim)
    results[#results + 1] = { mutant = mutant, by = by, what = what, seen = seen }
    caught = caught + (fine and 1 or 0)
    print(("%-24s %s%s%s"):format(mutant.name, by and by .. ": " .. what or "SURVIVES: " .. mutant.breaks,
      seen and "; sim: " .. seen or "", fine and "" or by and "; NOT NOTICED BY sim" or ""))
    io.stdout:flush()
  end
end
report(results, judged, now() - started)
print(("mutants: %d, %.0f s"):format(#results, now() - started))
print(("%d passed, %d failed"):format(caught, #results - caught))
os.exit(caught == #results and #results > 0 and 0 or 1)
