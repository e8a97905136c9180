-- What luacheck should know about this tree.
std = "max"
max_line_length = 120
exclude_files = { "build", "lua_modules", ".luarocks" }
files["spec"] = { std = "max+busted" }
-- The launcher is a shell script, too, which stands in a global string; `make install` sets its prefix.
files["bin/dsync"] = { globals = { "_" }, ignore = { "221" } }
