-- docs/options.md and docs/api.md name every option where it is taken, every function and every method, and no other.

local dsync = require "dsync"
local options = require "dsync.options"
local rig = require "spec.support.rig"

local function beyond(set, other)
  local list = {}
  for name in pairs(set) do
    if not other[name] then list[#list + 1] = name end
  end
  table.sort(list)
  return table.concat(list, ", ")
end

-- The same names in both.
local function agree(there, described)
  assert.equal("", beyond(there, described), "not documented")
  assert.equal("", beyond(described, there), "documented, but not there")
end

-------------------------------------------------------------------------------------------------------------- options

-- How the page's column "where" calls the kinds of options. lock_and_acquire is what two of them know.
local WHERE = {
  open = "client", lock = "lock", leader = "leader", acquire = "acquire", keep = "keep", run = "run",
  members = "members", locks = "locks", break_lock = "break_lock", watch = "watch", timeout = "timeout",
  cancel = "cancel",
}

-- "open ttl", "open tls.ca", ...
local function known()
  local set = {}
  local function add(where, known_here, path)
    for name, kind in pairs(known_here) do
      if type(kind) == "table" then add(where, kind, name .. ".") else set[where .. " " .. path .. name] = true end
    end
  end
  for where, kind in pairs(WHERE) do add(where, options.kinds[kind], "") end
  return set
end

-- From the tables with the columns "option" and "where": rows "| `name`, `name` | where, where | ...".
local function documented()
  local set, inside = {}, false
  for line in rig.read "docs/options.md":gmatch "[^\n]*" do
    local names, places = line:match "^| ([^|]*) | ([^|]*) |"
    if line:find "^| option | where |" then
      inside = true
    elseif inside and names then
      for name in names:gmatch "`([^`]*)`" do
        for place in places:gmatch "[^,%s]+" do set[place .. " " .. name] = true end
      end
    elseif line:sub(1, 1) ~= "|" and line ~= "" then
      inside = false
    end
  end
  return set
end

describe("docs/options.md", function()
  it("names every option where it is taken, and no other", function()
    agree(known(), documented())
  end)

  it("knows all kinds of options", function()
    local kinds = { lock_and_acquire = true }
    for _, kind in pairs(WHERE) do kinds[kind] = true end
    agree(options.kinds, kinds)
  end)
end)

------------------------------------------------------------------------------------------------------------------ api

-- For dsync's own modules, not for programs.
local INTERNAL = { ["canceller:add_hook"] = true, ["canceller:remove_hook"] = true, ["canceller:idle"] = true }

local function add_methods(set, name, object)
  for method, value in pairs(getmetatable(object).__index) do
    local full = name .. ":" .. method
    if type(value) == "function" and not method:find "^_" and not INTERNAL[full] then set[full] = true end
  end
end

local function existing()
  local set = {}
  for name in pairs(dsync) do set["dsync." .. name] = true end
  local d = assert(dsync.open "memory:api_spec")
  local lock = d:lock "a"
  local leader = d:leader "b"
  local w = d:watch()
  add_methods(set, "d", d)
  add_methods(set, "lock", lock)
  add_methods(set, "leader", leader)
  add_methods(set, "elected", assert(leader:elect { wait = 10 }))
  add_methods(set, "w", w)
  add_methods(set, "canceller", dsync.canceller())
  lock:keep {
    on_acquired = function(_, run)
      add_methods(set, "run", run)
      run:stop()
    end,
  }
  d:close()
  return set
end

describe("docs/api.md", function()
  local text = rig.read "docs/api.md"

  it("names every function and method in a row of its own, and no other", function()
    local set = {}
    for row in text:gmatch "\n(|[^\n]*)" do
      local first = row:match "^| ([^|]*) |" or ""
      for name in first:gmatch "`(dsync%.[%a_]+)" do set[name] = true end
      for name in first:gmatch "`(%a+:[%a_]+)%(" do set[name] = true end
    end
    for name in pairs(set) do
      if name:find "^on_" then set[name] = nil end
    end
    agree(existing(), set)
  end)

  it("and README.md name no method that is not there", function()
    local exists = existing()
    for _, page in ipairs { text, rig.read "README.md", rig.read "docs/options.md" } do
      for object, method in page:gmatch "(%a+):([%a_]+)%f[({]" do
        local name = object .. ":" .. method
        local is_ours = object == "d" or object == "lock" or object == "leader" or object == "elected"
          or object == "canceller" or object == "run"
        assert.is_true(not is_ours or exists[name] or false, name)
      end
    end
  end)
end)
