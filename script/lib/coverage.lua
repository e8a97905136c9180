-- coverage.lua BUILD REPORT: runs the unit tests and, on a real etcd, the contract tests of a build made with
-- --coverage, and says which share of the core's and the etcd backend's lines and branches they reached. Fails below
-- what must be reached. The list of what was not: BUILD/missed. A branch counts as reached when it was taken once.

local build, report_path = arg[1], arg[2]
local GROUPS = {
  { name = "core", pattern = "^csrc/core/", lines = 95, branches = 90 },
  { name = "etcd", pattern = "^csrc/backend/etcd", lines = 95, branches = 90 },
}

local function output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "*a"
  local fine = pipe:close()
  return text, fine
end

local function words(command)
  return (output(command):gsub("\n", " "))
end

local function run(command)
  if not os.execute(command) then os.exit(1) end
end

-- ---- running --------------------------------------------------------------------------------------------------------

os.execute("find " .. build .. " -name '*.gcda' -delete")
run("script/lib/programs unit " .. words("find " .. build .. "/unit -type f -perm -u+x | sort"))
run("SERVERS=${SERVERS:-etcd-3.4} script/lib/contract "
  .. words("find " .. build .. "/contract -type f -perm -u+x | sort"))

-- ---- reading --------------------------------------------------------------------------------------------------------

-- gcov's text of one object: per source line its count, then its branches, each "taken n" or "never executed".
local function read_gcov(text, files)
  local file, line
  for row in text:gmatch "[^\n]+" do
    local count, number, source = row:match "^%s*([^:]+):%s*(%d+):(.*)$"
    if count then
      number = tonumber(number)
      if number == 0 then
        local name = source:match "^Source:(.*)"
        if name then
          file = files[name] or { name = name, lines = {}, branches = {} }
          files[name] = file
        end
      elseif count:match "^%-" then
        line = nil
      else
        line = { number = number, source = source }
        local hit = not count:find "#"
        local known = file.lines[number]
        file.lines[number] = { hit = hit or (known and known.hit), source = source }
      end
    elseif line then
      local index, state = row:match "^branch%s+(%d+) (.*)"
      if index then
        local key = line.number .. "." .. index
        file.branches[key] = file.branches[key] or (state:match "taken (%d+)" or "0") ~= "0"
      end
    end
  end
end

local function share(hit, all)
  return all == 0 and 100 or hit * 100 / all
end

local function sum(file)
  local s = { lines = 0, lines_hit = 0, branches = 0, branches_hit = 0 }
  for _, line in pairs(file.lines) do
    s.lines, s.lines_hit = s.lines + 1, s.lines_hit + (line.hit and 1 or 0)
  end
  for _, hit in pairs(file.branches) do
    s.branches, s.branches_hit = s.branches + 1, s.branches_hit + (hit and 1 or 0)
  end
  return s
end

local files = {}
for path in output("ls " .. build .. "/obj/core/*.o " .. build .. "/obj/backend/etcd*.o"):gmatch "%S+" do
  read_gcov(output("gcov --branch-counts --branch-probabilities --stdout " .. path .. " 2>/dev/null"), files)
end

-- ---- telling --------------------------------------------------------------------------------------------------------

local function missed(file, out)
  local numbers = {}
  for number in pairs(file.lines) do numbers[#numbers + 1] = number end
  table.sort(numbers)
  for _, number in ipairs(numbers) do
    local branches = {}
    for key, hit in pairs(file.branches) do
      local at, index = key:match "(%d+)%.(%d+)"
      if tonumber(at) == number and not hit then branches[#branches + 1] = index end
    end
    local line = file.lines[number]
    table.sort(branches)
    if not line.hit or #branches > 0 then
      out:write(("%s:%d:%s%s %s\n"):format(file.name, number, line.hit and "" or " never",
        #branches > 0 and line.hit and " branch " .. table.concat(branches, ",") or "", line.source))
    end
  end
end

local names = {}
for name in pairs(files) do names[#names + 1] = name end
table.sort(names)
local out = assert(io.open(build .. "/missed", "w"))
local json = assert(io.open(report_path, "w"))
local failed = false
json:write "{\n  \"campaign\": \"cov\",\n  \"files\": ["
local first = true

local function row(name, s)
  local lines, branches = share(s.lines_hit, s.lines), share(s.branches_hit, s.branches)
  print(("%-40s %5.1f %% of %4d lines  %5.1f %% of %4d branches"):format(name, lines, s.lines, branches, s.branches))
  json:write(("%s\n    {\"name\": \"%s\", \"lines\": %d, \"lines_percent\": %.1f, \"branches\": %d, "
    .. "\"branches_percent\": %.1f}"):format(first and "" or ",", name, s.lines, lines, s.branches, branches))
  first = false
  return lines, branches
end

for _, group in ipairs(GROUPS) do
  local total = { lines = 0, lines_hit = 0, branches = 0, branches_hit = 0 }
  for _, name in ipairs(names) do
    if name:find(group.pattern) then
      local s = sum(files[name])
      for key in pairs(total) do total[key] = total[key] + s[key] end
      row(name, s)
      missed(files[name], out)
    end
  end
  local lines, branches = row(group.name .. ", all", total)
  failed = failed or lines < group.lines or branches < group.branches
end
json:write "\n  ]\n}\n"
json:close()
out:close()
os.exit(failed and 1 or 0)
