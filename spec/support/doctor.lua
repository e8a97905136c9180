-- What `dsync doctor` finds, for the specs that give it something to find.
local assert = require "luassert"
local command = require "spec.support.command"
local json = require "dsync.json"

local doctor = {}

-- The findings, by fault and by check, after the exit code; and all that it printed.
function doctor.examine(url, env, arguments)
  local list = { "doctor", "--json", "--url", url }
  for _, word in ipairs(arguments or {}) do list[#list + 1] = word end
  local code, out, err = command.run(list, { env = env })
  local by_fault, by_check = {}, {}
  for line in out:gmatch "[^\n]+" do
    local finding = assert(json.decode(line), line)
    if finding.fault then by_fault[finding.fault] = finding end
    by_check[finding.check] = finding
  end
  return code, by_fault, by_check, out .. err
end

-- It finds this fault and ends with this code.
function doctor.finds(fault, expected, url, env, arguments)
  local code, by_fault, _, all = doctor.examine(url, env, arguments)
  assert.truthy(by_fault[fault], all)
  assert.truthy(#by_fault[fault].advice > 10)
  assert.equal(expected, code, all)
  return by_fault
end

-- The same, for a fault that shows after a moment.
function doctor.comes_to_find(fault, url)
  local said
  for _ = 1, 10 do
    local code, by_fault, _, all = doctor.examine(url)
    assert.is_true(code ~= 0, all)
    if by_fault[fault] then return end
    said = all
  end
  error("never found: " .. said)
end

return doctor
