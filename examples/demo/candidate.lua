-- One of several candidates for the same role; leads until it is killed. Part of script/demo.
local dsync = require "dsync"

local name = arg[1]
io.stdout:setvbuf "line"

local d = assert(dsync.open(nil, { prefix = os.getenv "DEMO_PREFIX", ttl = 3 }))
local elected = assert(d:leader("scheduler", { id = name }):elect { wait = 30 })
print(("  %s  leads, token %s"):format(name, elected:token_string()))
print(("  %s  leads no longer: %s"):format(name, tostring(elected:revoked())))
