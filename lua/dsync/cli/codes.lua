-- codes.lua: what the command's exit codes mean, and which of them an outcome of the library becomes.

local codes = {
  ok = 0,
  no = 1, -- the answer is no: status of a free lock, leader of a vacant election, break of a lock that has moved on
  usage = 64,
  unavailable = 69,
  internal = 70,
  resource = 71,
  unwritten = 74,
  not_acquired = 75,
  lost = 76,
  denied = 77,
  config = 78,
  cannot_execute = 126,
  not_found = 127,
  signal = 128, -- plus the signal's number
}

local OF_OUTCOME = {
  timeout = codes.not_acquired,
  contended = codes.not_acquired,
  already_held = codes.not_acquired,
  lost = codes.lost,
  denied = codes.denied,
  config = codes.config,
  unsupported = codes.config,
  unavailable = codes.unavailable,
  protocol = codes.unavailable,
  unknown = codes.unavailable,
  resource = codes.resource,
  vacant = codes.no,
  not_held = codes.no,
}

--- The exit code for a failed call's stable code.
function codes.of(outcome)
  return OF_OUTCOME[outcome] or codes.internal
end

return codes
