-- options.lua: which options every call knows, and their translation for the core.
--
-- Programming errors (unknown option, wrong type) are raised here. Values that only the backend can judge go through:
-- the core answers nil, message, "config".

local check = require "dsync.check"
local errors = require "dsync.errors"
local json = require "dsync.json"

local ipairs, pairs, sort, tostring, type = ipairs, pairs, table.sort, tostring, type

local options = {}

local OF_BACKENDS = {
  etcd = { transport = "text" },
  consul = {
    datacenter = "text", lock_delay = "scalar", checks = "scalar", namespace = "text", consistency = "text",
    session = "session",
  },
  zookeeper = { digest = "text", acl = "scalar", dialect = "text" },
}

local CLIENT = check.union({
  url = "text",
  endpoints = "texts",
  prefix = "text",
  ttl = "interval",
  wait = "limit",
  retry_interval = "interval",
  hold = "limit",
  id = "text",
  namespace = "text",
  value = "value",
  max_value = "size",
  raw = "flag",
  session = "session",
  region = "text",
  scope = "scope",
  allow_plaintext_credentials = "flag",
  tls = { ca = "text", cert = "text", key = "text", server_name = "text", insecure_skip_verify = "flag" },
  auth = { user = "text", password = "text", token = "text", token_file = "text" },
  connect_timeout = "interval",
  request_timeout = "interval",
  close_timeout = "seconds",
  runtime = "runtime",
  on_event = "function",
}, OF_BACKENDS)

local LOCK = {
  ttl = "interval",
  wait = "limit",
  hold = "limit",
  value = "value",
  raw = "flag",
  session = "session",
  scope = "scope",
  key = "text",
  retry_interval = "interval",
}

local LEADER = check.union(LOCK, { id = "text", namespace = "text" })
local CANCEL = { cancel = "canceller" }
local ACQUIRE = { wait = "limit", hold = "limit", value = "value", cancel = "canceller" }
local KEEP = { value = "value", hold = "limit", retry_interval = "interval", cancel = "canceller" }

options.kinds = {
  client = CLIENT,
  lock = LOCK,
  leader = LEADER,
  acquire = ACQUIRE,
  lock_and_acquire = check.union(LOCK, ACQUIRE),
  cancel = CANCEL,
  timeout = check.union({ timeout = "seconds" }, CANCEL),
  keep = check.union({ on_acquired = "function", on_revoked = "function" }, KEEP),
  run = check.union({ on_elected = "function", on_revoked = "function", on_leader = "function" }, KEEP),
  members = check.union({ namespace = "text" }, CANCEL),
  locks = check.union({ prefix = "text" }, CANCEL),
  break_lock = check.union({ token = "token", scope = "scope", key = "text" }, CANCEL),
  watch = { namespace = "text", name = "text", key = "text" },
}

local NOTHING = {}

--- Checks `given` against the options of `kind` and returns it (or an empty table).
function options.check(call, given, kind)
  if given == nil then
    return NOTHING
  end
  check.options(call, given, options.kinds[kind])
  return given
end

--- For calls that take a timeout or a table: the timeout and the canceller.
function options.timeout(call, given)
  if type(given) == "table" then
    options.check(call, given, "timeout")
    return given.timeout, given.cancel
  end
  return check.seconds(call, "timeout", given), nil
end

--------------------------------------------------------------------------------------------------------------- values

--- Value for the core: its text, and whether that is the JSON of a table. Raises for a table that is none.
function options.encode_value(call, value, raw)
  if type(value) ~= "table" then
    return value, nil
  elseif raw then
    errors.raise(call .. ": a raw value is stored as it is and must be a string, got a table")
  end
  local text, problem = json.encode(value, "value")
  if not text then
    errors.raise(call .. ": " .. problem)
  end
  return text, true
end

--- What a holder's entry says: the string, or the table that was stored as JSON. Changes `entry` in place.
function options.decode_value(entry)
  if entry.value_is_json then
    local decoded = json.decode(entry.value)
    if decoded ~= nil then
      entry.value = decoded
    end
  end
  entry.value_is_json = nil
  return entry
end

---------------------------------------------------------------------------------------------------------- translation

local function copy(given, names)
  local out = {}
  for _, name in ipairs(names) do
    out[name] = given[name]
  end
  return out
end

local function own_session(session)
  if session ~= nil then
    return session == "own"
  end
end

local function settings_of(given)
  local list = {}
  for backend in pairs(OF_BACKENDS) do
    for name, value in pairs(given[backend] or NOTHING) do
      local text = type(value) == "table" and table.concat(value, ",") or tostring(value)
      list[#list + 1] = { backend .. "." .. name, text }
    end
  end
  sort(list, function(a, b)
    return a[1] < b[1]
  end)
  local flat = {}
  for _, pair in ipairs(list) do
    flat[#flat + 1] = pair[1]
    flat[#flat + 1] = pair[2]
  end
  return flat
end

local CLIENT_NAMES = {
  "endpoints", "prefix", "ttl", "wait", "retry_interval", "hold", "id", "namespace", "max_value", "raw", "region",
  "scope", "allow_plaintext_credentials", "connect_timeout", "request_timeout", "close_timeout",
}
local LOCK_NAMES = { "ttl", "wait", "hold", "raw", "scope", "key", "id", "namespace" }

--- Options of open for the core: one flat table. A table given as `value` stays out: the locks carry it.
function options.for_client(given)
  local out = copy(given, CLIENT_NAMES)
  out.own_session = own_session(given.session)
  if type(given.value) == "string" then
    out.value = given.value
  end
  for name, value in pairs(given.tls or NOTHING) do
    out["tls_" .. name] = value
  end
  for name, value in pairs(given.auth or NOTHING) do
    out["auth_" .. name] = value
  end
  out.settings = settings_of(given)
  return out
end

--- Options of a lock or candidate for the core. `defaults` are the client's.
function options.for_lock(call, given, defaults)
  local out = copy(given, LOCK_NAMES)
  out.own_session = own_session(given.session)
  local raw = given.raw
  if raw == nil then
    raw = defaults.raw
  end
  local value = given.value
  if value == nil and type(defaults.value) == "table" then
    value = defaults.value
  end
  out.value, out.value_is_json = options.encode_value(call, value, raw)
  return out
end

--- Options of one acquisition for the core.
function options.for_acquire(call, given, raw)
  local out = { wait = given.wait, hold = given.hold }
  out.value, out.value_is_json = options.encode_value(call, given.value, raw)
  return out
end

return options
