-- versions.lua: versions of servers that are known to break locks, with the tracker's entry that says so.

local ipairs, tonumber = ipairs, tonumber

local versions = {}

-- product, first bad version, first good one after it, what happens.
local BUGS = {
  { "etcd", "3.5.0", "3.5.3", "members may come to disagree after a crash (etcd issue 13766)" },
  { "etcd", "3.5.0", "3.5.13", "a leader that was replaced while it was stuck may revoke leases that are alive "
    .. "(etcd issue 15247)" },
  { "etcd", "0", "3.4.31", "a leader that was replaced while it was stuck may revoke leases that are alive "
    .. "(etcd issue 15247)" },
  { "zookeeper", "0", "3.4.11", "the entry of a client that has died may stay for ever (ZOOKEEPER-2355)" },
  { "zookeeper", "3.5.0", "3.5.4", "the entry of a client that has died may stay for ever (ZOOKEEPER-2355)" },
}

local function parts_of(version)
  local parts = {}
  for number in version:gmatch "%d+" do
    parts[#parts + 1] = tonumber(number)
  end
  return parts
end

-- Whether a is an earlier version than b.
local function is_before(a, b)
  a, b = parts_of(a), parts_of(b)
  for i = 1, 3 do
    if (a[i] or 0) ~= (b[i] or 0) then
      return (a[i] or 0) < (b[i] or 0)
    end
  end
  return false
end

--- What is known to be wrong with a server that calls itself "etcd 3.4.23": a list of { text, mended in }.
function versions.bugs(server)
  local product, version = server:match "^(%a+) v?(%d[%d.]*)"
  local list = {}
  for _, bug in ipairs(product and BUGS or {}) do
    if bug[1] == product:lower() and not is_before(version, bug[2]) and is_before(version, bug[3]) then
      list[#list + 1] = { bug[4], bug[3] }
    end
  end
  return list
end

return versions
