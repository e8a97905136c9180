-- list.lua: the deliberate bugs, one breach of a rule each. A test suite that misses one of them lacks a test. Each has
--   name, rule    what is broken, in the words of the rule; `breaks`: how
--   file          below csrc
--   from, to      the source as it is, and as it should never be; `after`: where to begin looking when `from` is there
--                 more than once, a text or several one after the other
--   by            the test that is expected to notice: a unit test's name, "sim", or another stage of run.lua
--   sim           true: the simulation has to notice it as well
-- make.lua puts them all into one build.

local list, by_name = {}, {}
for _, subject in ipairs { "time", "loss", "queue", "uncertain", "session", "etcd", "consul", "transport", "host" } do
  for _, mutant in ipairs(require("spec.mutants." .. subject)) do
    assert(not by_name[mutant.name], mutant.name)
    mutant.subject = subject
    by_name[mutant.name] = mutant
    list[#list + 1] = mutant
  end
end
return list
