-- run.lua SECONDS REPORT TARGET...: runs fuzz targets one after the other, each for so many seconds, on the corpus in
-- the tree, and says what came of it. What a target finds is kept in build/fuzz/<target>/ and fails the run.

package.path = "./?.lua;" .. package.path
local rig = require "spec.support.rig"

local seconds, report = tonumber(arg[1]), arg[2]
local root = io.popen("pwd"):read "l"

local env = {
  ASAN_OPTIONS = "detect_leaks=1:quarantine_size_mb=16:detect_stack_use_after_return=0",
  UBSAN_OPTIONS = "print_stacktrace=1",
}

local function exists(path)
  local file = io.open(path)
  return file ~= nil and file:close()
end

local function summary(target, folder, code, output, took)
  local row = { target = target, seconds = took, code = code }
  row.executions = tonumber(output:match "stat::number_of_executed_units: (%d+)") or 0
  local features, corpus
  for ft, count in output:gmatch "ft: (%d+) corp: (%d+)/" do features, corpus = ft, count end
  row.features, row.corpus = tonumber(features) or 0, tonumber(corpus) or 0
  row.coverage = tonumber(output:match ".*cov: (%d+) ft:") or 0
  row.findings = code == 0 and 0 or 1
  if code ~= 0 then
    io.stderr:write(output:sub(-6000), "\n", target, ": see ", folder, "\n")
  end
  return row
end

local function run(target)
  local folder = ("%s/build/fuzz/%s"):format(root, target)
  rig.run { "rm", "-rf", folder }
  rig.run { "mkdir", "-p", folder .. "/corpus" }
  local command = {
    "env", "-C", folder, ("%s/build/fuzz/target_%s"):format(root, target), "-max_total_time=" .. seconds,
    "-max_len=4096",
    "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", "-artifact_prefix=" .. folder .. "/",
  }
  local words = ("%s/fuzz/%s.dict"):format(root, target)
  if exists(words) then command[#command + 1] = "-dict=" .. words end
  command[#command + 1] = folder .. "/corpus"
  command[#command + 1] = ("%s/fuzz/corpus/%s"):format(root, target)
  local began = os.time()
  local child = rig.start(command, { merge = true, env = env })
  local lines = {}
  while true do
    local line, why = child:line(1)
    if line then
      lines[#lines + 1] = line
    elseif why == "eof" then
      break
    end
  end
  local code = child:wait(30) or 1
  return summary(target, folder, code, table.concat(lines, "\n"), os.time() - began)
end

local rows, failed, total = {}, 0, 0
for i = 3, #arg do
  local row = run(arg[i])
  rows[#rows + 1] = row
  failed, total = failed + row.findings, total + row.executions
  print(("%-9s %5d s %12d executions %7d/s %6d edges %7d features %6d inputs  %s"):format(row.target, row.seconds,
    row.executions, row.executions // math.max(row.seconds, 1), row.coverage, row.features, row.corpus,
    row.findings == 0 and "nothing found" or "FOUND SOMETHING"))
  io.stdout:flush()
end

local _, commit = rig.run { "git", "rev-parse", "--short", "HEAD" }
rig.run { "mkdir", "-p", "build/reports" }
local out = assert(io.open(report, "w"))
out:write(('{"campaign":"fuzz","commit":"%s","executions":%d,"findings":%d,"targets":['):format(
  commit and commit:match "%x+" or "unknown", total, failed))
for i, row in ipairs(rows) do
  local form = '%s{"target":"%s","seconds":%d,"executions":%d,"edges":%d,"features":%d,"inputs":%d,"findings":%d}'
  out:write(form:format(i > 1 and "," or "", row.target, row.seconds, row.executions, row.coverage, row.features,
    row.corpus, row.findings))
end
out:write "]}\n"
out:close()
print(("fuzz: %d executions, %d findings"):format(total, failed))
print(("%d passed, %d failed"):format(#rows - failed, failed))
os.exit(failed == 0 and 0 or 1, true)
