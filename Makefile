# dsync: builds the C library, the Lua module for every Lua found here, and the tests. GNU make.
#
#   make            library and Lua modules, in build/
#   make check      the fast tests; `make test` is everything (script/test does the same on a bare machine)
#   make sim        the core against model servers in virtual time; SEEDS=n FIRST=k, or SEED=k to see one in full
#   make lint       luacheck, clang-format, clang-tidy, and a build without a single warning
#   make nginx-load  requests that contend for locks in nginx, and reloads under that load; SHORT=1: some seconds only
#   make san        unit and conformance tests under AddressSanitizer, ThreadSanitizer and valgrind
#   make install    PREFIX=/usr/local DESTDIR=
#
# V=1 shows the commands; JOBS is how many tests run at once.

MAKEFLAGS += --no-builtin-rules --no-print-directory
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:

PREFIX ?= /usr/local
DESTDIR ?=
JOBS ?= 3
CC = gcc
AR = ar
PKG_CONFIG ?= pkg-config
CLANG_FORMAT ?= clang-format
CLANG_TIDY ?= clang-tidy
LUACHECK ?= luacheck
ifneq ($(V),1)
Q = @
endif

VERSION := $(shell sed -n 's/^\#define DSYNC_VERSION "\(.*\)"/\1/p' csrc/dsync.h)
SOVERSION := $(firstword $(subst ., ,$(VERSION)))

# ---- what there is ----------------------------------------------------------------------------------------------------

library_sources := $(sort $(wildcard csrc/base/*.c csrc/net/*.c csrc/core/*.c csrc/backend/*.c csrc/client/*.c))
module_sources := $(sort $(wildcard csrc/lua/*.c))
unit_sources := $(sort $(wildcard spec/unit/test_*.c))
unit_helpers := $(sort $(filter-out $(unit_sources),$(wildcard spec/unit/*.c)))
contract_sources := $(sort $(wildcard spec/contract/test_*.c))
contract_helpers := $(sort $(filter-out $(contract_sources),$(wildcard spec/contract/*.c)))
example_sources := $(sort $(wildcard examples/*.c))
host_example_sources := $(sort $(wildcard examples/host/*.c))
host_sources := $(sort $(wildcard spec/host/test_*.c))
c_files := $(sort $(wildcard csrc/*.[ch] csrc/*/*.[ch] spec/unit/*.[ch] spec/contract/*.[ch] spec/host/*.[ch] bench/*.[ch] proxy/*.[ch]) \
  $(example_sources) $(host_example_sources))
lua_files := $(sort $(wildcard lua/*.lua lua/*/*.lua lua/*/*/*.lua))

# A Lua counts when both its program and its headers are here.
lua_found = $(shell command -v $(1) >/dev/null && $(PKG_CONFIG) --exists $(1) && echo $(1))
lua_programs := $(foreach v,5.1 5.2 5.3 5.4,$(call lua_found,lua$(v))) $(call lua_found,luajit)
luas := $(patsubst lua%,%,$(subst luajit,lualuajit,$(lua_programs)))
check_lua := $(lastword $(filter-out luajit,$(luas)) $(filter 5.4,$(luas)))
lua_program = $(if $(filter luajit,$(1)),luajit,lua$(1))

# ---- how to compile ---------------------------------------------------------------------------------------------------

dependency_flags := $(shell $(PKG_CONFIG) --cflags libcurl libcjson sqlite3 2>/dev/null)
dependency_libs := $(shell $(PKG_CONFIG) --libs libcurl libcjson sqlite3 2>/dev/null) -lpthread
warnings = -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror=vla \
  -Werror=implicit-function-declaration
base_flags = -std=c11 -D_GNU_SOURCE -g -fPIC -fvisibility=hidden -fno-common -MMD -MP $(warnings) $(dependency_flags)
hardening = -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong
link_flags = -Wl,-z,relro,-z,now -Wl,-z,noexecstack
# The library's thread may outlive the last reference to it: it must never be unmapped.
shared_flags = -shared $(link_flags) -Wl,-z,nodelete -Wl,--as-needed

.PHONY: all lib lua unit contract host sim test test-programs check san lint rockspec format install examples clean
all: lib lua
lib: build/libdsync.a build/libdsync.so
lua: $(foreach v,$(luas),build/$(call lua_program,$(v))/dsync/core.so build/libdsync-$(call lua_program,$(v)).a)

# $(call variant,DIR,CFLAGS,LDFLAGS,SOFLAGS): the whole build once more in DIR, with other flags.
define variant
objects_$(1) := $$(library_sources:csrc/%.c=$(1)/obj/%.o)

$(1)/obj/%.o: csrc/%.c
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(base_flags) $(2) $$(CFLAGS) -c $$< -o $$@

$(1)/spec/%.o: spec/%.c
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(base_flags) -Icsrc -Ispec/unit $(2) $$(CFLAGS) -c $$< -o $$@

$(1)/libdsync.a: $$(objects_$(1))
	$$(Q)rm -f $$@ && $$(AR) rcs $$@ $$^

$(1)/libdsync.so: $$(objects_$(1)) csrc/exports.map
	$$(Q)$$(CC) $$(shared_flags) $(4) $(3) -Wl,--version-script=csrc/exports.map -Wl,-soname,libdsync.so.$$(SOVERSION) -o $$@ \
	  $$(objects_$(1)) $$(dependency_libs) $$(LDFLAGS)

$(1)/unit/%: $(1)/spec/unit/%.o $$(unit_helpers:%.c=$(1)/%.o) $(1)/libdsync.a
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(link_flags) $(3) -o $$@ $$^ $$(dependency_libs) $$(LDFLAGS)

$(1)/contract/%: $(1)/spec/contract/%.o $$(contract_helpers:%.c=$(1)/%.o) $(1)/libdsync.a
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(link_flags) $(3) -o $$@ $$^ $$(dependency_libs) $$(LDFLAGS)

unit_$(1) := $$(unit_sources:spec/unit/%.c=$(1)/unit/%)
contract_$(1) := $$(contract_sources:spec/contract/%.c=$(1)/contract/%)


-include $$(objects_$(1):.o=.d) $$(unit_sources:%.c=$(1)/%.d) $$(unit_helpers:%.c=$(1)/%.d)
-include $$(contract_sources:%.c=$(1)/%.d) $$(contract_helpers:%.c=$(1)/%.d)
endef

# $(call module,DIR,CFLAGS,LDFLAGS,LUA): the Lua module for one Lua. Lua's own symbols come from the program.
define module
$(1)/$(call lua_program,$(4))/obj/%.o: csrc/lua/%.c
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(base_flags) $$(shell $$(PKG_CONFIG) --cflags $(call lua_program,$(4))) $(2) $$(CFLAGS) -c $$< -o $$@

$(1)/$(call lua_program,$(4))/dsync/core.so: $$(module_sources:csrc/lua/%.c=$(1)/$(call lua_program,$(4))/obj/%.o) $(1)/libdsync.a csrc/lua/exports.map
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(shared_flags) $(3) -Wl,--version-script=csrc/lua/exports.map -o $$@ $$(filter-out %.map,$$^) \
	  $$(dependency_libs) $$(LDFLAGS)

# The module for hosts that link it in.
$(1)/libdsync-$(call lua_program,$(4)).a: $$(module_sources:csrc/lua/%.c=$(1)/$(call lua_program,$(4))/obj/%.o)
	$$(Q)rm -f $$@ && $$(AR) rcs $$@ $$^

$(call with_lua,$(1),$(2),$(3),$(call lua_program,$(4)),host,spec/host)
$(call with_lua,$(1),$(2),$(3),$(call lua_program,$(4)),examples/host,examples/host)
host_$(1) += $$(host_sources:spec/host/%.c=$(1)/$(call lua_program,$(4))/host/%)

-include $$(module_sources:csrc/lua/%.c=$(1)/$(call lua_program,$(4))/obj/%.d)
endef

# $(call with_lua,DIR,CFLAGS,LDFLAGS,LUA PROGRAM,TO,FROM): C programs that link the module in, together with Lua.
define with_lua
$(1)/$(4)/$(5)/%: $(6)/%.c $(1)/libdsync-$(4).a $(1)/libdsync.a
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(base_flags) -Icsrc -Ispec/unit $$(shell $$(PKG_CONFIG) --cflags $(4)) $(2) $$(CFLAGS) $$(link_flags) $(3) \
	  -o $$@ $$^ $$(shell $$(PKG_CONFIG) --libs $(4)) -ldl $$(dependency_libs) $$(LDFLAGS)

endef

asan_flags = -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
tsan_flags = -O1 -fno-omit-frame-pointer -fsanitize=thread
# $(call build,DIR,CFLAGS,LDFLAGS,SOFLAGS)
comma := ,
define build
$(eval $(call variant,$(1),$(2),$(3),$(4)))
$(foreach v,$(luas),$(eval $(call module,$(1),$(2),$(3),$(v))))
endef
$(call build,build,$(hardening),,-Wl$(comma)-z$(comma)defs)
$(call build,build/asan,$(asan_flags),-fsanitize=address -fsanitize=undefined)
$(call build,build/tsan,$(tsan_flags),-fsanitize=thread)
$(call build,build/strict,$(hardening) -Werror,)

# ---- tests ------------------------------------------------------------------------------------------------------------

test-programs: $(unit_build) $(contract_build) $(host_build) build/sim/ask

# C programs with Lua inside: several states in several threads, forks, unloading.
host: $(host_build)
	@script/lib/programs host $^

unit: $(unit_build)
	@script/lib/programs unit $^

# Each request kind against each version of each server that this machine has.
contract: $(contract_build)
	@script/lib/contract $^

check: $(unit_build) build/$(call lua_program,$(check_lua))/dsync/core.so
	@script/lib/programs unit $(unit_build)
	@script/lib/spec $(check_lua) memory spec/conformance

test: all test-programs examples
	@JOBS=$(JOBS) script/lib/suite

san: $(unit_build/asan) $(unit_build/tsan) $(unit_build) $(foreach d,build build/asan build/tsan,$(d)/$(call lua_program,$(check_lua))/dsync/core.so)
	@JOBS=$(JOBS) script/lib/sanitize $(check_lua)

# Under nginx: SERVER=etcd-3.5, SECONDS, RELOADS and REQUESTS change what is done.
.PHONY: nginx-load
nginx-load: build/$(call lua_program,$(check_lua))/dsync/core.so build/luajit/dsync/core.so
	@script/lib/nginx-load $(or $(SERVER),etcd-3.4) $(or $(SECONDS),$(if $(SHORT),5,60)) $(or $(RELOADS),$(if $(SHORT),5,100)) \
	  $(or $(REQUESTS),500)

# ---- simulation -------------------------------------------------------------------------------------------------------

# The library's own objects against model servers in virtual time. SEEDS=n FIRST=k runs that many, but at most SECONDS=s;
# SEED=k shows one in full.
SEEDS ?= 10000
FIRST ?= 1
MODEL ?= etcd
sim_objects := $(patsubst %.c,build/%.o,$(sort $(wildcard sim/*.c)))
sim_wraps = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free

build/sim/%.o: sim/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(base_flags) $(hardening) $(CFLAGS) -c $< -o $@

build/sim/sim: $(sim_objects) build/libdsync.a
	$(Q)$(CC) $(link_flags) $(sim_wraps) -o $@ $^ $(dependency_libs) $(LDFLAGS)

build/sim/judge: build/sim/selftest/selftest.o build/sim/check.o build/sim/check_claims.o
	$(Q)$(CC) $(link_flags) -o $@ $^ $(LDFLAGS)

# Answers as a model does, for comparison with a real server.
build/sim/ask: build/sim/selftest/ask.o $(filter-out build/sim/main.o,$(sim_objects)) build/libdsync.a
	$(Q)$(CC) $(link_flags) $(sim_wraps) -o $@ $^ $(dependency_libs) $(LDFLAGS)

-include $(sim_objects:.o=.d) build/sim/selftest/selftest.d build/sim/selftest/ask.d

sim: build/sim/judge build/sim/sim
	@build/sim/judge
	@mkdir -p build/reports
	@build/sim/sim --model $(MODEL) --commit $$(git rev-parse --short HEAD 2>/dev/null || echo unknown) \
	  --report build/reports/sim.json $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --first $(FIRST) $(if $(SECONDS),--seconds $(SECONDS)))

# ---- lint -------------------------------------------------------------------------------------------------------------

strict_objects := $(library_sources:csrc/%.c=build/strict/obj/%.o) \
  $(foreach v,$(luas),$(module_sources:csrc/lua/%.c=build/strict/$(call lua_program,$(v))/obj/%.o)) \
  $(patsubst %.c,build/strict/%.o,$(unit_sources) $(unit_helpers) $(contract_sources) $(contract_helpers))
tidy_stamps := $(patsubst %.c,build/tidy/%.ok,$(library_sources) $(module_sources))

lint: $(strict_objects) $(tidy_stamps)
	@$(LUACHECK) -q $(wildcard lua spec examples bin)
	@$(CLANG_FORMAT) --dry-run -Werror $(c_files)
	@script/lib/banned $(c_files)
	@echo "lint: clean"

build/tidy/%.ok: %.c $(wildcard csrc/*.h csrc/*/*.h) .clang-tidy
	@mkdir -p $(@D)
	$(Q)$(CLANG_TIDY) --quiet $< -- -std=c11 -D_GNU_SOURCE $(dependency_flags) \
	  $(shell $(PKG_CONFIG) --cflags $(call lua_program,$(check_lua))) 2>$@.err || { cat $@.err >&2; exit 1; }
	@touch $@

rockspec:
	@mkdir -p build && script/lib/rockspec >build/rockspec.new && mv build/rockspec.new dsync-scm-1.rockspec

format:
	@$(CLANG_FORMAT) -i $(c_files)

# ---- campaigns ---------------------------------------------------------------------------------------------------------

# make proxy [FAULTS=n] [SEED=k] [BACKEND=etcd or consul]: clients behind a proxy that mistreats them, before a real server.
.PHONY: proxy
proxy: build/proxy/campaign
	@mkdir -p build/reports
	@lua5.4 proxy/run.lua $(or $(BACKEND),etcd) $< $(or $(FAULTS),1000) $(or $(SEED),1) build/reports/proxy.json

build/proxy/campaign: $(sort $(wildcard proxy/*.c)) $(wildcard proxy/*.h) build/libdsync.a
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -g $(hardening) $(warnings) $(CFLAGS) $(link_flags) -o $@ $(filter %.c,$^) \
	  build/libdsync.a $(dependency_libs) $(LDFLAGS)

# ---- examples, install, clean -----------------------------------------------------------------------------------------

example_programs := $(example_sources:examples/%.c=build/examples/%) \
  $(host_example_sources:examples/%.c=build/$(call lua_program,$(check_lua))/examples/%)
examples: $(example_programs)

build/examples/%: examples/%.c build/libdsync.a
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -g $(hardening) $(warnings) -MMD -MP -Icsrc $(CFLAGS) $(link_flags) -o $@ $< \
	  build/libdsync.a $(dependency_libs) $(LDFLAGS)

-include $(example_programs:=.d)

# LuaJIT looks where Lua 5.1 does, and their modules are interchangeable.
install_luas := $(filter-out luajit,$(luas)) $(if $(filter 5.1,$(luas)),,$(filter luajit,$(luas)))
lua_directory = lua/$(if $(filter luajit,$(1)),5.1,$(1))

install: all
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 644 csrc/dsync.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 build/libdsync.a $(DESTDIR)$(PREFIX)/lib/
	$(foreach v,$(luas),install -m 644 build/libdsync-$(call lua_program,$(v)).a $(DESTDIR)$(PREFIX)/lib/;)
	install -m 755 build/libdsync.so $(DESTDIR)$(PREFIX)/lib/libdsync.so.$(SOVERSION)
	ln -sf libdsync.so.$(SOVERSION) $(DESTDIR)$(PREFIX)/lib/libdsync.so
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' dsync.pc.in >$(DESTDIR)$(PREFIX)/lib/pkgconfig/dsync.pc
	$(foreach v,$(install_luas),$(foreach f,$(lua_files),install -D -m 644 $(f) \
	  $(DESTDIR)$(PREFIX)/share/$(call lua_directory,$(v))/$(f:lua/%=%);))
	$(foreach v,$(install_luas),install -D -m 755 build/$(call lua_program,$(v))/dsync/core.so \
	  $(DESTDIR)$(PREFIX)/lib/$(call lua_directory,$(v))/dsync/core.so;)
	$(foreach f,$(wildcard bin/*),install -D -m 755 $(f) $(DESTDIR)$(PREFIX)/$(f);)

clean:
	rm -rf build
