-- phrasing.lua: what the library says of its options, in the words of the command line: flags and variables instead of
-- the names of options and calls.

local ipairs = ipairs

local phrasing = {}

-- Options of the library that have a flag or a variable of their own; the others are given by -o.
local WORDS = {
  name = "NAME", key = "--key", value = "--value", ttl = "--ttl", wait = "--wait", token = "--token",
  namespace = "--namespace", prefix = "--prefix", region = "--region", id = "--id",
  ["auth.user"] = "--user", ["auth.password"] = "DSYNC_PASSWORD", ["auth.token"] = "DSYNC_AUTH_TOKEN",
  ["auth.token_file"] = "--token-file", ["tls.ca"] = "--tls-ca", ["tls.cert"] = "--tls-cert",
  ["tls.key"] = "--tls-key", ["tls.server_name"] = "--tls-server-name", ["zookeeper.digest"] = "DSYNC_DIGEST",
}

-- Calls of the library; a message about an argument begins with one.
local CALLS = { "open", "lock", "leader", "members", "locks", "watch", "break_lock" }

-- Sentences that are about the library's way of writing.
local SENTENCES = {
  { "auth%.user and auth%.password belong together: .*", "--user (DSYNC_USER) needs the password in DSYNC_PASSWORD" },
  { "zookeeper takes no auth = .*", 'ZooKeeper takes no user, password or token: set DSYNC_DIGEST to "user:secret"' },
  { "Consul knows no user and password: .*",
    "Consul knows no user and password (--user, DSYNC_USER): give DSYNC_AUTH_TOKEN or --token-file" },
  { "set allow_plaintext_credentials = true", "give -o allow_plaintext_credentials=true" },
  { "set allow_plaintext_credentials", "give -o allow_plaintext_credentials=true" },
  { "more than max_value = (%d+)", "more than %1 (-o max_value=...)" },
  { "got the number ", "got " },
}

local function without_call(message)
  for _, call in ipairs(CALLS) do
    local rest = message:match("^" .. call .. ": (.*)$")
    if rest then
      return rest, call
    end
  end
  return message
end

-- The option that a message begins with: option "ttl" must be ..., ttl of 0.001 s: ...
local function with_flag(message)
  local option, rest = message:match '^option "([%w_.]+)"(.*)$'
  if option then
    return (WORDS[option] or "-o " .. option) .. rest
  end
  local word, after = message:match "^([%w_]+)([ :].*)$"
  return WORDS[word] and WORDS[word] .. after or message
end

--- A message of the library about its options, as the command says it.
function phrasing.of(message)
  local text, call = without_call(message)
  for _, sentence in ipairs(SENTENCES) do
    text = text:gsub(sentence[1], sentence[2])
  end
  local has_key = (call == "lock" or call == "break_lock") and not text:find "^namespace"
  text = text:gsub("prefix = or key =", has_key and "--prefix or --key" or "--prefix")
  return (with_flag(text):gsub("%a+%.[%a_]+", WORDS))
end

return phrasing
