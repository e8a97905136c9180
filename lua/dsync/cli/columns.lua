-- columns.lua: rows of text under headings, aligned; on a terminal no wider than it is.

local process = require "dsync.process"
local say = require "dsync.cli.say"

local concat, ipairs, max = table.concat, ipairs, math.max

local columns = {}

local GAP = "  "

-- How many characters; a terminal shows each in one place (nearly).
local function width(text)
  local _, continued = text:gsub("[\128-\191]", "")
  return #text - continued
end

local function cut(text, room)
  if width(text) <= room or room < 4 then
    return text
  end
  local kept = {}
  for character in text:gmatch "[%z\1-\127\194-\244][\128-\191]*" do
    if #kept == room - 3 then
      break
    end
    kept[#kept + 1] = character
  end
  return concat(kept) .. "..."
end

-- One line; the last column is not padded, and cut where the terminal ends.
local function line(cells, widths, limit)
  local parts, used = {}, 0
  for i, cell in ipairs(cells) do
    if i == #cells then
      parts[i] = limit and cut(cell, limit - used) or cell
    else
      parts[i] = cell .. (" "):rep(widths[i] - width(cell))
      used = used + widths[i] + #GAP
    end
  end
  return (table.concat(parts, GAP):gsub("%s+$", ""))
end

local function measure(widths, cells)
  for i, cell in ipairs(cells) do
    widths[i] = max(widths[i] or 0, width(cell))
  end
end

--- Prints headings and rows (lists of strings; made harmless here).
function columns.print(headings, rows)
  local limit, widths = process.columns(1), {}
  measure(widths, headings)
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do
      row[i] = say.safe(cell)
    end
    measure(widths, row)
  end
  local lines = { line(headings, widths, limit) }
  for _, row in ipairs(rows) do
    lines[#lines + 1] = line(row, widths, limit)
  end
  say.line(concat(lines, "\n"))
end

--- For rows that come one by one: a function that prints one, and widens what has become too narrow.
function columns.stream(headings, widths)
  local limit = process.columns(1)
  measure(widths, headings)
  say.line(line(headings, widths, limit))
  return function(row)
    for i, cell in ipairs(row) do
      row[i] = say.safe(cell)
    end
    measure(widths, row)
    say.line(line(row, widths, limit))
  end
end

return columns
