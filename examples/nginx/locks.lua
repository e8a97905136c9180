-- One client for all requests of a worker, opened at its first use. For the configurations beside this file.
--
-- The address comes from the environment (nginx passes it on only with `env DSYNC_URL;` in nginx.conf).

local dsync = require "dsync"

local client

return function()
  if not client then
    client = assert(dsync.open(os.getenv "DSYNC_URL" or "etcd://127.0.0.1:2379", { prefix = "examples", ttl = 10 }))
  end
  return client
end
