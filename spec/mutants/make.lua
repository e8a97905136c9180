-- make.lua SOURCE TARGET: copies the C sources of SOURCE to TARGET, with every deliberate bug of list.lua in its place
-- behind a question that is asked at run time: one build serves all mutants. Each edit is
--   an expression:   from  ->  (ds_mutant("name") ? (to) : (from))
--   statements (`from` ends with a semicolon):   if (ds_mutant("name")) { to } else { from }
-- Lines stay where they are. Files that did not change are not written, so that make compiles no more than it must.
-- Without TARGET it only says whether every edit has its place in SOURCE.

package.path = "./?.lua;" .. package.path
local list = require "spec.mutants.list"

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end

local function write(path, text)
  if read(path) == text then return end
  os.execute("mkdir -p " .. path:match "(.*)/")
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- Where `edit.from` is: its only place in the file, or the first one behind the text `edit.after` (or behind several).
local function place(text, edit)
  local begin = 1
  local anchors = type(edit.after) == "table" and edit.after or { edit.after }
  for _, anchor in ipairs(anchors) do
    local _, last = text:find(anchor, begin, true)
    if not last then return nil, "holds no " .. anchor end
    begin = last + 1
  end
  local first, last = text:find(edit.from, begin, true)
  if not first then return nil, "holds no " .. edit.from end
  if not edit.after and text:find(edit.from, last + 1, true) then return nil, "holds more than one " .. edit.from end
  return first, last
end

local function replacement(from, edits)
  local parts, statement = {}, from:find ";%s*$"
  for i, edit in ipairs(edits) do
    local name, to = edit.name, edit.to:gsub("%s*\n%s*", " ")
    if statement then
      parts[i] = ("if (ds_mutant(\"%s\")) { %s } else "):format(name, to)
    else
      parts[i] = ("ds_mutant(\"%s\") ? (%s) : "):format(name, to)
    end
  end
  local head = table.concat(parts)
  return statement and head .. "{ " .. from .. " }" or "(" .. head .. "(" .. from .. "))"
end

local problems = {}

local function mutate(path, text, edits)
  local places, by_first = {}, {}
  for _, edit in ipairs(edits) do
    local first, last = place(text, edit)
    if not first then
      problems[#problems + 1] = ("mutant %s: %s %s"):format(edit.name, path, last)
    elseif by_first[first] then
      table.insert(by_first[first].edits, edit)
    else
      by_first[first] = { first = first, last = last, edits = { edit } }
      places[#places + 1] = by_first[first]
    end
  end
  table.sort(places, function(a, b) return a.first < b.first end)
  local out, at = {}, 1
  for _, spot in ipairs(places) do
    if spot.first < at then
      problems[#problems + 1] = ("mutant %s: overlaps another in %s"):format(spot.edits[1].name, path)
      break
    end
    out[#out + 1] = text:sub(at, spot.first - 1)
    out[#out + 1] = replacement(text:sub(spot.first, spot.last), spot.edits)
    at = spot.last + 1
  end
  return table.concat(out) .. text:sub(at)
end

local source, target = arg[1], arg[2]
local by_file, seen = {}, {}
for _, mutant in ipairs(list) do
  by_file[mutant.file] = by_file[mutant.file] or {}
  table.insert(by_file[mutant.file], mutant)
end
local found = io.popen("find " .. source .. " -name '*.[ch]' | sort")
for path in found:lines() do
  local file = path:sub(#source + 2)
  local text = assert(read(path))
  seen[file] = true
  if by_file[file] then text = mutate(file, text, by_file[file]) end
  if target then write(target .. "/" .. file, text) end
end
found:close()
for file in pairs(by_file) do
  if not seen[file] then problems[#problems + 1] = "no source file " .. file end
end
for _, problem in ipairs(problems) do io.stderr:write(problem, "\n") end
os.exit(#problems == 0 and 0 or 1)
