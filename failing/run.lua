-- run.lua TITLE PROGRAM SECONDS REPORT [NAME]: starts the servers that scenarios need and runs a campaign of failures.

package.path = "./?.lua;" .. package.path
local etcd = require "spec.support.etcd"
local rig = require "spec.support.rig"

local title, program, seconds, report, name = arg[1], arg[2], arg[3], arg[4], arg[5]
local version = etcd.find "3.4" and "3.4" or "3.5"

local function start(settings)
  settings.version = version
  return assert(etcd.start(settings))
end

local plain, users, tls = start {}, start { auth = true, auth_prefixes = { "failing/" } }, start { tls = true }
local folder = rig.tempdir()
local _, commit = rig.run { "git", "rev-parse", "--short", "HEAD" }
commit = commit and commit:match "%x+" or "unknown"

local child = rig.start({
  program, "memory:failing", "local:" .. folder .. "/locks.db", plain.url, users.url, tls.url, report, commit, seconds,
  "failing/scenarios.lua", name,
}, { merge = true, env = {
  FL_CA = tls.options.tls.ca,
  ASAN_OPTIONS = "detect_leaks=1:detect_stack_use_after_return=0:quarantine_size_mb=32:exitcode=99",
  LSAN_OPTIONS = "suppressions=script/lib/lsan.supp:print_suppressions=0",
  UBSAN_OPTIONS = "print_stacktrace=1",
} })
local code = child:relay()
for _, server in ipairs { plain, users, tls } do server:stop() end
print(title .. (code == 0 and ": nothing crashed, hung, leaked, or believed what is not so" or ": FAILED"))
os.exit(code, true)
