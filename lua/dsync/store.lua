-- store.lua: what a client can be asked about the store at large, and breaking somebody's lock.

local check = require "dsync.check"
local errors = require "dsync.errors"
local holding = require "dsync.holding"
local options = require "dsync.options"
local waiting = require "dsync.waiting"

local ipairs, pairs = ipairs, pairs

local store = {}

local methods = {}

-- The result of an operation as `read(op)` makes it, or nil, message, code.
local function query(self, cancel, read, method, ...)
  local op, message, code = waiting.call(self, cancel, self._core, method, ...)
  if not op then
    return nil, message, code
  end
  local result = read(op)
  op:free()
  return result
end

local function read_entries(op)
  return op:entries()
end

local function read_value(op)
  return op:value() or false
end

--- Who answers and may we talk to it: the server's name, or nil, message, code.
function methods:ping(given)
  local timeout, cancel = options.timeout("ping", given)
  local found, message, code = query(self, cancel, read_value, "ping", timeout)
  if found == nil then
    return nil, message, code
  end
  return found and found.value or true
end

--- What lock:put wrote under this key: value, token; nil, message, "vacant" when there is nothing.
function methods:get(key, given)
  check.text("get", "key", key)
  local opts = options.check("get", given, "cancel")
  local found, message, code = query(self, opts.cancel, read_value, "get", key)
  if found == nil then
    return nil, message, code
  elseif not found then
    return nil, 'nothing is stored under "' .. key .. '"', "vacant"
  end
  return found.value, found.token or found.token_string
end

--- Every candidate of every election in a namespace: {id, name, namespace, role, value, token, token_string, since}.
function methods:members(given)
  local opts = options.check("members", given, "members")
  local entries, message, code = query(self, opts.cancel, read_entries, "members", opts.namespace)
  if not entries then
    return nil, message, code
  end
  local list = {}
  for i, entry in ipairs(entries) do
    list[i] = holding.peer(entry, {
      name = entry.name,
      namespace = entry.namespace,
      role = entry.holds and "leader" or "candidate",
    })
  end
  return list
end

--- Every lock whose name begins with `prefix`: {name, key, holder, waiters}.
function methods:locks(given)
  local opts = options.check("locks", given, "locks")
  local entries, message, code = query(self, opts.cancel, read_entries, "locks", opts.prefix or "")
  if not entries then
    return nil, message, code
  end
  local list, last = {}, nil
  for _, entry in ipairs(entries) do
    if entry.first or not last then
      last = { name = entry.name, key = entry.key, waiters = {} }
      list[#list + 1] = last
    end
    if entry.holds then
      last.holder = holding.peer(entry)
    else
      last.waiters[#last.waiters + 1] = holding.peer(entry)
    end
  end
  return list
end

--- Takes a lock away from its holder if its token is still `token`: true, or nil, message, code ("not_held").
function methods:break_lock(name, given)
  check.text("break_lock", "name", name)
  local opts = options.check("break_lock", given, "break_lock")
  if opts.token == nil then
    errors.raise('break_lock: option "token" is needed: the token of the holder that shall lose the lock')
  end
  local where = { scope = opts.scope, key = opts.key }
  return waiting.perform(self, opts.cancel, self._core, "break_lock", name, where, opts.token)
end

--- Gives the class of clients the methods of this file.
function store.install(class)
  for name, method in pairs(methods) do
    class[name] = method
  end
end

return store
