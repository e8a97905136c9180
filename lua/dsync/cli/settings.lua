-- settings.lua: the options that every command shares, and the client they open.
--
-- Secrets come from the environment or from files, never from the command line, which every user of the machine can
-- read.

local args = require "dsync.cli.args"

local error, getenv, ipairs, pairs, pcall = error, os.getenv, ipairs, pairs, pcall
local tonumber, tostring, type = tonumber, tostring, type

local settings = {}

settings.options = {
  { name = "url", kind = "text", value = "URL", env = "DSYNC_URL", help = "the store: etcd://host:2379, local:, ..." },
  { name = "prefix", kind = "text", value = "P", env = "DSYNC_PREFIX", help = "keys go below this (default dsync)" },
  { name = "region", kind = "text", value = "R", env = "DSYNC_REGION", help = "names are names of this region" },
  { name = "id", kind = "text", value = "ID", env = "DSYNC_ID", help = "this node's name (default host:pid:random)" },
  { name = "user", kind = "text", value = "NAME", env = "DSYNC_USER", help = "with DSYNC_PASSWORD in the environment" },
  { name = "token-file", kind = "text", value = "FILE", env = "DSYNC_AUTH_TOKEN_FILE",
    help = "holds the access token" },
  { name = "tls-ca", kind = "text", value = "FILE", env = "DSYNC_TLS_CA", help = "whom to trust, PEM" },
  { name = "tls-cert", kind = "text", value = "FILE", env = "DSYNC_TLS_CERT", help = "this client's certificate, PEM" },
  { name = "tls-key", kind = "text", value = "FILE", env = "DSYNC_TLS_KEY", help = "its key, PEM" },
  { name = "tls-server-name", kind = "text", value = "NAME", env = "DSYNC_TLS_SERVER_NAME",
    help = "the name to expect" },
  {
    name = "option", short = "o", kind = "texts", value = "NAME=VALUE",
    help = "any option of dsync.open, such as etcd.transport=json",
  },
}

-- Where an option of the command line goes in the options of dsync.open.
local PATHS = {
  prefix = { "prefix" }, region = { "region" }, id = { "id" }, user = { "auth", "user" },
  token_file = { "auth", "token_file" }, tls_ca = { "tls", "ca" }, tls_cert = { "tls", "cert" },
  tls_key = { "tls", "key" }, tls_server_name = { "tls", "server_name" },
}

-- Variable, option, and whether it is meant for this client: the environment may be set for several.
local SECRETS = {
  { "DSYNC_PASSWORD", { "auth", "password" }, function(opts)
    return opts.auth and opts.auth.user ~= nil
  end },
  { "DSYNC_AUTH_TOKEN", { "auth", "token" }, function(opts)
    return not opts.auth
  end },
  { "DSYNC_DIGEST", { "zookeeper", "digest" }, function(_, url)
    return url:find "^zookeepers?:" ~= nil
  end },
}

local function put(opts, path, value)
  for i = 1, #path - 1 do
    opts[path[i]] = opts[path[i]] or {}
    opts = opts[path[i]]
  end
  opts[path[#path]] = value
end

local function variable(name)
  local value = name and getenv(name)
  return value ~= "" and value or nil
end

--------------------------------------------------------------------------------------------------------- -o NAME=VALUE

local TO_VALUE = { text = true, runtime = false, ["function"] = false }

local function to_list(text)
  local list = {}
  for one in text:gmatch "[^,]+" do
    list[#list + 1] = one
  end
  return list
end

local function to_value(kind, name, text)
  if TO_VALUE[kind] == false then
    args.fail("--option " .. name .. " cannot be given on a command line")
  elseif kind == "flag" then
    if text ~= "true" and text ~= "false" then
      args.fail("--option " .. name .. " needs true or false")
    end
    return text == "true"
  elseif kind == "seconds" or kind == "interval" then
    return args.seconds(text) or args.fail("--option " .. name .. " needs a time such as 30, 0.5 or 5m")
  elseif kind == "size" then
    return tonumber(text) or args.fail("--option " .. name .. " needs a number")
  elseif kind == "texts" then
    return to_list(text)
  end
  return text
end

local function put_option(opts, given)
  local name, text = given:match "^([%w_.-]+)=(.*)$"
  if not name then
    args.fail '--option needs NAME=VALUE'
  end
  local path, kind = {}, require("dsync.options").kinds.client
  for part in name:gmatch "[^.]+" do
    path[#path + 1] = part
    kind = type(kind) == "table" and kind[part] or nil
  end
  if type(kind) ~= "string" then
    args.fail('--option: there is no option "' .. name .. '"')
  end
  for _, secret in ipairs(SECRETS) do
    if table.concat(secret[2], ".") == name then
      args.fail("a command line is no place for " .. name .. ": set " .. secret[1] .. " in the environment")
    end
  end
  put(opts, path, to_value(kind, name, text))
end

------------------------------------------------------------------------------------------------------------- the client

--- URL and options for dsync.open, from the command line and the environment. `more`: further options.
function settings.of(given, more)
  local opts, url = {}, given.url or variable "DSYNC_URL"
  for name, value in pairs(more or {}) do
    opts[name] = value
  end
  for _, option in ipairs(settings.options) do
    local key = option.name:gsub("%-", "_")
    local value = given[key] or variable(option.env)
    if value and PATHS[key] then
      put(opts, PATHS[key], value)
    end
  end
  for _, secret in ipairs(SECRETS) do
    local value = variable(secret[1])
    if value and secret[3](opts, url or "") then
      put(opts, secret[2], value)
    end
  end
  opts.namespace = variable "DSYNC_NAMESPACE"
  for _, one in ipairs(given.option or {}) do
    put_option(opts, one)
  end
  return url, opts
end

--- The message of a programming error, without the place in this program where it was noticed.
function settings.plain(message)
  return (tostring(message):gsub("^[^\n]-:%d+: ", "", 1))
end

--- The message of a failure; one about options or credentials in the words of the command line.
function settings.in_words(message, code)
  local about_options = code == "config" or code == "denied"
  return about_options and require("dsync.cli.phrasing").of(message) or message
end

local function refuse(message)
  args.fail(require("dsync.cli.phrasing").of(message))
end

--- Calls fn(...); what it raises about its arguments becomes a usage error.
function settings.checked(fn, ...)
  local ok, one, message, code = pcall(fn, ...)
  if not ok then
    refuse(settings.plain(one))
  end
  return one, settings.in_words(message, code), code
end

--- The same for a fn that waits. What it raises without a place in this program is about what was typed.
function settings.protected(fn, ...)
  local ok, one, message, code = require("dsync.protect").call(fn, ...)
  local text = not ok and type(one) == "string" and one:match "^[^\n]*"
  if ok then
    return one, settings.in_words(message, code), code
  elseif text and text == settings.plain(text) then
    refuse(text)
  end
  error(one, 0)
end

--- A client, or nil, message, code.
function settings.open(given, more)
  local url, opts = settings.of(given, more)
  return settings.checked(require("dsync").open, url, opts)
end

return settings
