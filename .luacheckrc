-- What luacheck should know about this tree.
std = "max"
max_line_length = 120
exclude_files = { "build", "lua_modules", ".luarocks" }
files["spec"] = { std = "max+busted" }
