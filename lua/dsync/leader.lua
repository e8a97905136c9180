-- leader.lua: Leader, a role in an election: campaign, and look at who leads.

local dispatch = require "dsync.dispatch"
local elected = require "dsync.elected"
local holding = require "dsync.holding"
local keep = require "dsync.keep"
local lock = require "dsync.lock"
local options = require "dsync.options"
local waiting = require "dsync.waiting"
local watcher = require "dsync.watcher"

local ipairs = ipairs

local leader = {}

local Leader = { __name = "dsync.leader", _what = "leader" }
Leader.__index = Leader

function Leader:__tostring()
  return 'dsync leader "' .. self:name() .. '" (' .. self:status() .. ")"
end

function Leader:name()
  return self._core:name()
end

function Leader:key()
  return self._core:key()
end

--- This node's name in the election.
function Leader:id()
  return self._id
end

function Leader:namespace()
  return self._namespace
end

local STATUS = {
  entering = "candidate", waiting = "candidate", ["lock-delay"] = "candidate", held = "elected", suspect = "elected",
}

--- "follower", "candidate" or "elected".
function Leader:status()
  local status = STATUS[self._core:state()] or "follower"
  if status == "elected" and not self._core:held() then
    return "follower"
  end
  return status
end

local function campaign(self, cancel, wanted, value)
  if self._elected then
    self._elected:_remember()
  end
  local ok, message, code = waiting.perform(self._client, cancel, self._core, "acquire", wanted)
  if not ok then
    return nil, message, code
  end
  self._elected = elected.new(self, value)
  return self._elected
end

--- Campaigns: an Elected, or nil, message, code. Options as for lock:acquire.
function Leader:elect(given)
  local opts = options.check("elect", given, "acquire")
  local wanted = given and options.for_acquire("elect", opts, self._raw)
  return campaign(self, opts.cancel, wanted, opts.value)
end

local function candidates(self, call, given, limit)
  local entries, message, code = holding.queue(self, call, given, limit)
  if not entries then
    return nil, message, code
  end
  local list = {}
  for i, entry in ipairs(entries) do
    list[i] = holding.peer(entry, {
      name = self:name(),
      namespace = self._namespace,
      role = entry.holds and "leader" or "candidate",
    })
  end
  return list
end

--- The present leader, {id, value, token, ...}, or nil, message, "vacant".
function Leader:leader(given)
  local list, message, code = candidates(self, "leader", given, 1) -- who leads comes first
  if not list then
    return nil, message, code
  end
  for _, member in ipairs(list) do
    if member.role == "leader" then
      return member
    end
  end
  return nil, 'election "' .. self:name() .. '" has no leader', "vacant"
end

--- Every candidate in order: {id, name, namespace, role, value, token, ...}.
function Leader:members(given)
  return candidates(self, "members", given)
end

--- A watcher of this election.
function Leader:observe()
  return watcher.new(self._client, self._namespace, self:name(), self._watch_key)
end

local function leader_of(event)
  return { id = event.id, value = event.value, token = event.token, token_string = event.token_string }
end

-- Calls on_leader(leader or nil, run) whenever another leads, until the run is stopped.
local function follow(self, spec, run)
  local watch, message, code = self:observe()
  if not watch then
    return nil, message, code
  end
  local where = "on_leader in " .. spec.where
  self._client._adapter.spawn(function()
    local present
    local event = watch:next()
    while event do
      local is_leader = event.type == "elected"
        or (event.type == "changed" and present and event.token_string == present.token_string)
      if is_leader or event.type == "vacant" then
        present = is_leader and leader_of(event) or nil
        dispatch.callback(self._client, where, spec.on_leader, present, run)
      end
      event = watch:next()
    end
  end)
  return watch
end

--- Campaigns for ever, again after every loss, until run:stop(). Options: on_elected(elected, run),
--- on_revoked(elected, run, reason), on_leader(leader or nil, run), value, hold, retry_interval, cancel.
function Leader:run(given)
  local opts = options.check("run", given, "run")
  local wanted = options.for_acquire("run", { hold = opts.hold, value = opts.value }, self._raw)
  wanted.wait = -1
  local spec = {
    client = self._client,
    cancel = opts.cancel,
    retry_interval = opts.retry_interval or self._retry_interval,
    where = 'run of leader "' .. self:name() .. '"',
    on_gained = opts.on_elected and function(one, run)
      return one:guard(opts.on_elected, one, run)
    end,
    on_lost = opts.on_revoked,
    on_leader = opts.on_leader,
  }
  function spec.gain(cancel)
    return campaign(self, cancel, wanted, opts.value)
  end
  function spec.give_up(one)
    return one:resign()
  end
  function spec.begin(run)
    if not opts.on_leader then
      return nil
    end
    local watch, message = follow(self, spec, run)
    if not watch then
      dispatch.report(self._client, spec.where, message)
      return nil
    end
    return function()
      watch:close()
    end
  end
  return keep.loop(spec)
end

function leader.new(client, name, given)
  local one, message, code = lock.build(Leader, "leader", client, name, given)
  if not one then
    return nil, message, code
  end
  local opts = given or {}
  one._id = opts.id or client:id()
  one._namespace = opts.namespace or client._given.namespace or "default"
  -- A watch knows no scope: it is given the path when that is not the one the client itself would take.
  one._watch_key = (opts.key or opts.scope) and one:key() or nil
  return one
end

return leader
