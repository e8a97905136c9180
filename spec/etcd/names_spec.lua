-- The names of entries. etcd's index has every key since the last compaction, and a look at a queue goes through all of
-- them below its path: a lock that is taken all day must not leave a key for every time.
local suite = require "spec.support.suite"
local tools = require "spec.support.suite_etcd"
local ok = suite.ok

describe("on etcd", function()
  local bench = tools.bench()
  setup(bench.start)
  teardown(bench.stop)
  after_each(suite.cleanup)

  -- How many names the only entry has had.
  local function collect()
    local names, count = {}, 0
    return function(path)
      local keys = bench.keys(path .. "/")
      assert.equal(1, #keys)
      if not names[keys[1]] then names[keys[1]], count = true, count + 1 end
      return count
    end
  end

  it("a lock that is taken again and again has one entry name", function()
    local d, name, count = suite.open(), suite.name(), collect()
    for _ = 1, 30 do
      local lock = ok(d:lock(name):acquire())
      assert.equal(1, count(lock:key()))
      assert.is_true(lock:release())
    end
  end)

  it("a lock that is handed over in one client has two", function()
    local d, name, count = suite.open(), suite.name(), collect()
    local lock = ok(d:lock(name):acquire())
    for turn = 1, 30 do
      local next_one = d:lock(name)
      local waiting = suite.spawn(function() return next_one:acquire { wait = suite.patience } end)
      suite.eventually("it waits", function() return next_one:state() ~= "idle" end)
      assert.is_true(lock:release())
      ok(suite.join(waiting))
      assert.is_true(count(lock:key()) <= 2, "in turn " .. turn)
      lock = next_one
    end
  end)

  it("whoever is told to wait in vain leaves its name to the next", function()
    local d, other, name = suite.open(), suite.open(), suite.name()
    local holder, names, count = ok(other:lock(name):acquire()), {}, 0
    for _ = 1, 3 do
      local waiting = suite.spawn(function() return d:lock(name):acquire { wait = 1.5 } end)
      local keys = suite.eventually("it is in the queue", function()
        local keys = bench.keys(holder:key() .. "/")
        return #keys == 2 and keys
      end)
      for _, key in ipairs(keys) do
        if not names[key] then names[key], count = true, count + 1 end
      end
      suite.fails("timeout", suite.join(waiting))
      suite.eventually("it is out", function() return #bench.keys(holder:key() .. "/") == 1 end)
    end
    assert.equal(2, count)
  end)
end)
