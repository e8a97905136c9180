# dsync: builds the C library, the Lua module for every Lua found here, and the tests. GNU make.
#
#   make            library and Lua modules, in build/
#   make check      the fast tests; `make test` is everything (script/test does the same on a bare machine)
#   make sim        the core against model servers in virtual time; SEEDS=n FIRST=k, or SEED=k to see one in full
#   make fuzz       hostile bytes into every parser and the state machines; SECONDS=n per target, TARGET=t for one of them
#   make proxy      clients behind a proxy that mistreats them, before a real server; BACKEND=etcd, consul or zookeeper, FAULTS=n
#   make oom        every n-th allocation fails; make sysfail: every n-th system call; SECONDS=n: at most so long each
#   make lint       luacheck, clang-format, clang-tidy, and a build without a single warning
#   make local      the local: backend under contention, kills, stops and torn writes, for minutes; SHORT=1: some seconds only
#   make nginx-load  requests that contend for locks in nginx, and reloads under that load; SHORT=1: some seconds only
#   make cov        which lines and branches of the core and the etcd backend the tests reach
#   make mutants    does a test notice each deliberate bug? MUTANT=name,name runs these only, SHORT=1 a handful
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
command_sources := $(sort $(wildcard csrc/command/*.c))
unit_sources := $(sort $(wildcard spec/unit/test_*.c))
unit_helpers := $(sort $(filter-out $(unit_sources),$(wildcard spec/unit/*.c)))
local_sources := $(sort $(wildcard spec/local/test_*.c))
local_helpers := $(sort $(filter-out $(local_sources),$(wildcard spec/local/*.c)))
contract_sources := $(sort $(wildcard spec/contract/test_*.c))
contract_helpers := $(sort $(filter-out $(contract_sources),$(wildcard spec/contract/*.c)))
example_sources := $(sort $(wildcard examples/*.c))
host_example_sources := $(sort $(wildcard examples/host/*.c))
host_sources := $(sort $(wildcard spec/host/test_*.c))
c_files := $(sort $(wildcard csrc/*.[ch] csrc/*/*.[ch] spec/unit/*.[ch] spec/contract/*.[ch] spec/local/*.[ch] spec/host/*.[ch] spec/mutants/*.[ch] bench/*.[ch] proxy/*.[ch] fuzz/*.[ch] failing/*.[ch] sim/*.[ch] sim/*/*.[ch]) \
  $(example_sources) $(host_example_sources))
lua_files := $(sort $(wildcard lua/*.lua lua/*/*.lua lua/*/*/*.lua lua/*/*/*/*.lua))

# A Lua counts when both its program and its headers are here.
lua_found = $(shell command -v $(1) >/dev/null && $(PKG_CONFIG) --exists $(1) && echo $(1))
lua_programs := $(foreach v,5.1 5.2 5.3 5.4,$(call lua_found,lua$(v))) $(call lua_found,luajit)
luas := $(patsubst lua%,%,$(subst luajit,lualuajit,$(lua_programs)))
check_lua := $(lastword $(filter-out luajit,$(luas)) $(filter 5.4,$(luas)))
lua_program = $(if $(filter luajit,$(1)),luajit,lua$(1))

# ---- how to compile ---------------------------------------------------------------------------------------------------

dependency_flags := $(shell $(PKG_CONFIG) --cflags libcurl libcjson sqlite3 2>/dev/null)
# The tests' own HTTP/2 server. What is installed loads libnghttp2 when it needs it, as it does libcurl.
server_libs := -Wl,--as-needed $(shell $(PKG_CONFIG) --libs libnghttp2 2>/dev/null)
dependency_libs := $(shell $(PKG_CONFIG) --libs libcurl libcjson sqlite3 2>/dev/null) -lpthread -ldl
warnings = -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror=vla \
  -Werror=implicit-function-declaration
base_flags = -std=c11 -D_GNU_SOURCE -g -fPIC -fvisibility=hidden -fno-common -MMD -MP $(warnings) $(dependency_flags)
hardening = -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong
link_flags = -Wl,-z,relro,-z,now -Wl,-z,noexecstack
# The library's thread may outlive the last reference to it: it must never be unmapped.
shared_flags = -shared $(link_flags) -Wl,-z,nodelete -Wl,--as-needed

# zookeeper:// needs a module of its own, made where the single-threaded libzookeeper (libzookeeper-st-dev) is. It is linked
# in, its symbols hidden.
zookeeper_found := $(shell echo 'int main(void) { return zoo_state(0); }' | \
  $(CC) -include zookeeper/zookeeper.h -x c - -o /dev/null -l:libzookeeper_st.a 2>/dev/null && echo yes)
zookeeper_module = $(if $(zookeeper_found),$(1)/libdsync-zookeeper.so)

.PHONY: all lib lua unit contract host local-tests sim test test-programs check san lint rockspec format install examples clean
all: lib lua
lib: build/libdsync.a build/libdsync.so $(call zookeeper_module,build)
lua: $(foreach v,$(luas),build/$(call lua_program,$(v))/dsync/core.so build/$(call lua_program,$(v))/dsync/process.so \
  build/libdsync-$(call lua_program,$(v)).a $(call zookeeper_module,build/$(call lua_program,$(v))/dsync))

# $(call variant,DIR,CFLAGS,LDFLAGS,SOFLAGS,SOURCE): the whole build once more in DIR, with other flags, from SOURCE or csrc.
define variant
objects_$(1) := $$(library_sources:csrc/%.c=$(1)/obj/%.o)

$(1)/obj/%.o: $(or $(5),csrc)/%.c
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

$(1)/libdsync-zookeeper.so: csrc/module/zookeeper.c csrc/module/literal.c csrc/module/frames.c csrc/module/frames.h csrc/backend/zookeeper_seam.h \
  csrc/core/world.h
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(filter-out -MMD -MP,$$(base_flags)) $(2) $$(CFLAGS) $$(shared_flags) $(3) -Wl,--exclude-libs,ALL -o $$@ $$(filter %.c,$$^) \
	  -l:libzookeeper_st.a $$(LDFLAGS)

$(1)/unit/%: $(1)/spec/unit/%.o $$(unit_helpers:%.c=$(1)/%.o) $(1)/libdsync.a
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(link_flags) $(3) -o $$@ $$^ $$(dependency_libs) $$(server_libs) $$(LDFLAGS)

$(1)/contract/%: $(1)/spec/contract/%.o $$(contract_helpers:%.c=$(1)/%.o) $(1)/libdsync.a
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(link_flags) $(3) -o $$@ $$^ $$(dependency_libs) $$(LDFLAGS)

$(1)/local/%: $(1)/spec/local/%.o $$(local_helpers:%.c=$(1)/%.o) $(1)/libdsync.a
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(link_flags) $(3) -o $$@ $$^ $$(dependency_libs) $$(LDFLAGS)

unit_$(1) := $$(unit_sources:spec/unit/%.c=$(1)/unit/%)
contract_$(1) := $$(contract_sources:spec/contract/%.c=$(1)/contract/%)
local_$(1) := $$(local_sources:spec/local/%.c=$(1)/local/%)

-include $$(objects_$(1):.o=.d) $$(unit_sources:%.c=$(1)/%.d) $$(unit_helpers:%.c=$(1)/%.d)
-include $$(contract_sources:%.c=$(1)/%.d) $$(contract_helpers:%.c=$(1)/%.d)
-include $$(local_sources:%.c=$(1)/%.d) $$(local_helpers:%.c=$(1)/%.d)
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

$(1)/$(call lua_program,$(4))/command/%.o: csrc/command/%.c
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(base_flags) $$(shell $$(PKG_CONFIG) --cflags $(call lua_program,$(4))) $(2) $$(CFLAGS) -c $$< -o $$@

# What only the command needs: nothing of the library is in it.
$(1)/$(call lua_program,$(4))/dsync/process.so: $$(command_sources:csrc/command/%.c=$(1)/$(call lua_program,$(4))/command/%.o) csrc/lua/exports.map
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(shared_flags) $(3) -Wl,--version-script=csrc/lua/exports.map -o $$@ $$(filter-out %.map,$$^) $$(LDFLAGS)

$(1)/$(call lua_program,$(4))/dsync/libdsync-zookeeper.so: $(1)/libdsync-zookeeper.so
	@mkdir -p $$(@D)
	$$(Q)cp $$< $$@

# The module for hosts that link it in.
$(1)/libdsync-$(call lua_program,$(4)).a: $$(module_sources:csrc/lua/%.c=$(1)/$(call lua_program,$(4))/obj/%.o)
	$$(Q)rm -f $$@ && $$(AR) rcs $$@ $$^

$(call with_lua,$(1),$(2),$(3),$(call lua_program,$(4)),host,spec/host)
$(call with_lua,$(1),$(2),$(3),$(call lua_program,$(4)),examples/host,examples/host)
host_$(1) += $$(host_sources:spec/host/%.c=$(1)/$(call lua_program,$(4))/host/%)

-include $$(module_sources:csrc/lua/%.c=$(1)/$(call lua_program,$(4))/obj/%.d)
-include $$(command_sources:csrc/command/%.c=$(1)/$(call lua_program,$(4))/command/%.d)
endef

# $(call with_lua,DIR,CFLAGS,LDFLAGS,LUA PROGRAM,TO,FROM): C programs that link the module in, together with Lua.
define with_lua
$(1)/$(4)/$(5)/%: $(6)/%.c $(1)/libdsync-$(4).a $(1)/libdsync.a
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(base_flags) -Icsrc -Ispec/unit $$(shell $$(PKG_CONFIG) --cflags $(4)) $(2) $$(CFLAGS) $$(link_flags) $(3) \
	  -o $$@ $$^ $$(shell $$(PKG_CONFIG) --libs $(4)) -ldl $$(dependency_libs) $$(LDFLAGS)

endef

asan_flags = -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined -DDS_TEST_ALLOC
tsan_flags = -O1 -fno-omit-frame-pointer -fsanitize=thread
# $(call build,DIR,CFLAGS,LDFLAGS,SOFLAGS,SOURCE)
comma := ,
define build
$(eval $(call variant,$(1),$(2),$(3),$(4),$(5)))
$(foreach v,$(luas),$(eval $(call module,$(1),$(2),$(3),$(v))))
endef
$(call build,build,$(hardening),,-Wl$(comma)-z$(comma)defs)
$(call build,build/asan,$(asan_flags),-fsanitize=address -fsanitize=undefined)
$(call build,build/tsan,$(tsan_flags),-fsanitize=thread)
$(call build,build/strict,$(hardening) -Werror,)
$(call build,build/cov,-O0 --coverage -fprofile-update=atomic -DNDEBUG -DDS_TEST_ALLOC,--coverage)
# One build for all mutants: see spec/mutants/list.lua.
$(call build,build/mutants,-O2 -include spec/mutants/mutant.h,,,build/mutants/csrc)

# ---- tests ------------------------------------------------------------------------------------------------------------

test-programs: $(unit_build) $(contract_build) $(local_build) $(host_build) build/sim/ask build/sim/sim build/sim/judge build/proxy/campaign

# C programs with Lua inside: several states in several threads, forks, unloading.
host: $(host_build)
	@script/lib/programs host $^

unit: $(unit_build)
	@script/lib/programs unit $^

# Each request kind against each version of each server that this machine has.
contract: $(contract_build)
	@script/lib/contract $^

# Processes that fight over one local: database, in the short form; make local is the long one.
local-tests: $(local_build)
	@script/lib/programs local $^

check: $(unit_build) build/$(call lua_program,$(check_lua))/dsync/core.so
	@script/lib/programs unit $(unit_build)
	@script/lib/spec $(check_lua) memory spec/conformance

test: all test-programs examples
	@JOBS=$(JOBS) script/lib/suite

host_checked := $(foreach d,build build/asan build/tsan,$(host_sources:spec/host/%.c=$(d)/$(call lua_program,$(check_lua))/host/%))
san: $(unit_build/asan) $(unit_build/tsan) $(unit_build) $(local_build/asan) $(local_build/tsan) $(host_checked) $(foreach d,build build/asan build/tsan,$(d)/$(call lua_program,$(check_lua))/dsync/core.so \
  $(d)/$(call lua_program,$(check_lua))/dsync/process.so $(call zookeeper_module,$(d)/$(call lua_program,$(check_lua))/dsync))
	@JOBS=$(JOBS) script/lib/sanitize $(check_lua)

# Under nginx: SERVER=etcd-3.5, SECONDS, RELOADS and REQUESTS change what is done.
.PHONY: nginx-load
nginx-load: build/$(call lua_program,$(check_lua))/dsync/core.so build/luajit/dsync/core.so
	@script/lib/nginx-load $(or $(SERVER),etcd-3.4) $(or $(SECONDS),$(if $(SHORT),5,60)) $(or $(RELOADS),$(if $(SHORT),5,100)) \
	  $(or $(REQUESTS),500)

# ---- coverage ------------------------------------------------------------------------------------------------------------

# What unit tests (with allocations that fail) and the contract tests on a real etcd reach of the core and the etcd backend.
.PHONY: cov
cov: $(unit_build/cov) $(contract_build/cov)
	@mkdir -p build/reports
	@lua5.4 script/lib/coverage.lua build/cov build/reports/cov.json

# ---- mutants -------------------------------------------------------------------------------------------------------------

.PHONY: mutants
mutants:
	@mkdir -p build/reports
	@lua5.4 spec/mutants/run.lua $(if $(SHORT),--short) $(MUTANT)

c_sources := $(wildcard csrc/*.[ch] csrc/*/*.[ch])
build/mutants/stamp: $(c_sources) $(wildcard spec/mutants/*.lua)
	@mkdir -p $(@D)
	$(Q)lua5.4 spec/mutants/make.lua csrc build/mutants/csrc
	@touch $@

$(c_sources:%=build/mutants/%): build/mutants/stamp ;

build/mutants/mutant.o: spec/mutants/mutant.c spec/mutants/mutant.h
	$(Q)$(CC) $(base_flags) $(hardening) $(CFLAGS) -c $< -o $@

build/mutants/libdsync.a: build/mutants/mutant.o

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

build/mutants/sim/sim: $(sim_objects:build/%=build/mutants/%) build/mutants/libdsync.a
	$(Q)$(CC) $(link_flags) $(sim_wraps) -o $@ $^ $(dependency_libs) $(LDFLAGS)

build/mutants/sim/%.o: sim/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(base_flags) $(hardening) $(CFLAGS) -c $< -o $@

build/sim/judge: build/sim/selftest/selftest.o build/sim/check.o build/sim/check_claims.o
	$(Q)$(CC) $(link_flags) -o $@ $^ $(LDFLAGS)

# Answers as a model does, for comparison with a real server.
build/sim/ask: build/sim/selftest/ask.o $(filter-out build/sim/main.o,$(sim_objects)) build/libdsync.a
	$(Q)$(CC) $(link_flags) $(sim_wraps) -o $@ $^ $(dependency_libs) $(LDFLAGS)

-include $(sim_objects:.o=.d) $(sim_objects:build/%.o=build/mutants/%.d) build/sim/selftest/selftest.d \
  build/sim/selftest/ask.d

sim: build/sim/judge build/sim/sim
	@build/sim/judge
	@mkdir -p build/reports
	@build/sim/sim --model $(MODEL) --commit $$(git rev-parse --short HEAD 2>/dev/null || echo unknown) \
	  --report build/reports/sim-$(MODEL).json $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --first $(FIRST) $(if $(SECONDS),--seconds $(SECONDS)))

# ---- lint -------------------------------------------------------------------------------------------------------------

strict_objects := $(library_sources:csrc/%.c=build/strict/obj/%.o) \
  $(foreach v,$(luas),$(module_sources:csrc/lua/%.c=build/strict/$(call lua_program,$(v))/obj/%.o)) \
  $(foreach v,$(luas),$(command_sources:csrc/command/%.c=build/strict/$(call lua_program,$(v))/command/%.o)) \
  $(patsubst %.c,build/strict/%.o,$(unit_sources) $(unit_helpers) $(contract_sources) $(contract_helpers) \
    $(local_sources) $(local_helpers)) $(call zookeeper_module,build/strict)
tidy_stamps := $(patsubst %.c,build/tidy/%.ok,$(library_sources) $(module_sources) $(command_sources) \
  $(if $(zookeeper_found),csrc/module/zookeeper.c csrc/module/literal.c csrc/module/frames.c))

lint: $(strict_objects) $(tidy_stamps)
	@$(LUACHECK) -q $(wildcard lua spec examples bench proxy script/lib/campaign script/lib/coverage.lua fuzz failing) bin/dsync
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

# ---- fuzzing ----------------------------------------------------------------------------------------------------------

# make fuzz [SECONDS=n] [TARGET=t]: clang's libFuzzer, AddressSanitizer and UBSan over the library and the targets in fuzz/.
CLANG ?= clang
fuzz_flags = -std=c11 -D_GNU_SOURCE -DDS_TEST_ALLOC -g -O1 -fno-omit-frame-pointer -MMD -MP -Wall -Wextra \
  -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined $(dependency_flags)
fuzz_targets := $(patsubst fuzz/target_%.c,%,$(sort $(wildcard fuzz/target_*.c)))
fuzz_helpers := fuzz/fuzz.c fuzz/etcd_player.c $(filter spec/unit/fake_%.c spec/unit/scripted_backend.c spec/unit/scripted_watch.c spec/unit/core_%.c,$(unit_helpers))
fuzz_objects := $(patsubst %.c,build/fuzz/%.o,$(library_sources) $(fuzz_helpers))

build/fuzz/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(fuzz_flags) $(CFLAGS) -c $< -o $@

build/fuzz/target_%: build/fuzz/fuzz/target_%.o $(fuzz_objects)
	$(Q)$(CLANG) -fsanitize=fuzzer,address,undefined -o $@ $^ $(dependency_libs) $(LDFLAGS)

-include $(fuzz_objects:.o=.d) $(fuzz_targets:%=build/fuzz/fuzz/target_%.d)

.PHONY: fuzz
fuzz: $(patsubst %,build/fuzz/target_%,$(or $(TARGET),$(fuzz_targets)))
	@lua5.4 fuzz/run.lua $(or $(SECONDS),60) build/reports/fuzz.json $(or $(TARGET),$(fuzz_targets))

# ---- failing machines -------------------------------------------------------------------------------------------------

# make oom, make sysfail [SECONDS=n] [ONLY=part of a scenario's name] [WORKERS=n]: every n-th allocation, every n-th
# system call fails. WORKERS: so many at once; most of their time they wait.
failing_lua := $(call lua_program,$(check_lua))
failing_shared := $(filter-out failing/oom.c failing/sysfail.c failing/calls.c,$(sort $(wildcard failing/*.c)))
failing_wraps_oom = -Wl,--wrap=cJSON_InitHooks
failing_objects := $(patsubst %.c,build/asan/%.o,$(failing_shared))

build/asan/failing/%.o: failing/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(base_flags) $(shell $(PKG_CONFIG) --cflags $(failing_lua)) $(asan_flags) $(CFLAGS) -c $< -o $@

build/asan/failing/run-sysfail: build/asan/failing/calls.o
build/asan/failing/run-%: build/asan/failing/%.o $(failing_objects) build/asan/libdsync-$(failing_lua).a build/asan/libdsync.a
	$(Q)$(CC) $(link_flags) $(failing_wraps_$*) -fsanitize=address -fsanitize=undefined -o $@ $^ \
	  $(shell $(PKG_CONFIG) --libs $(failing_lua)) -ldl $(dependency_libs) $(LDFLAGS)

-include $(failing_objects:.o=.d) build/asan/failing/oom.d build/asan/failing/sysfail.d

.PHONY: oom sysfail
oom sysfail: %: build/asan/failing/run-%
	@mkdir -p build/reports
	@FL_WORKERS=$(WORKERS) lua5.4 failing/run.lua $@ $< $(or $(SECONDS),0) build/reports/$@.json $(ONLY)

# ---- campaigns ---------------------------------------------------------------------------------------------------------

# make local [SHORT=1]: processes that fight over local: databases, are killed and stopped; then what a cycle costs.
.PHONY: local
local: $(local_build) build/bench/bare_flock build/lua5.4/dsync/core.so
	@mkdir -p build/reports
	@eval "$$(script/env 5.4)" && $(if $(SHORT),,DSYNC_LONG=1) script/lib/campaign local build/reports/local.json \
	  $(local_build) "lua5.4 bench/local.lua build/bench/bare_flock"

# make proxy [FAULTS=n] [SEED=k] [BACKEND=etcd, etcd-grpc, consul or zookeeper]: clients behind a proxy that mistreats them, before a real server.
.PHONY: proxy
proxy: build/proxy/campaign $(call zookeeper_module,build/proxy)
	@mkdir -p build/reports
	@lua5.4 proxy/run.lua $(or $(BACKEND),etcd) $< $(or $(FAULTS),1000) $(or $(SEED),1) build/reports/proxy-$(or $(BACKEND),etcd).json

build/proxy/libdsync-zookeeper.so: build/libdsync-zookeeper.so
	@mkdir -p $(@D)
	@cp $< $@

build/proxy/campaign: $(sort $(wildcard proxy/*.c)) $(wildcard proxy/*.h) build/libdsync.a
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -g $(hardening) $(warnings) $(CFLAGS) $(link_flags) -o $@ $(filter %.c,$^) \
	  build/libdsync.a $(dependency_libs) $(LDFLAGS)

build/bench/bare_flock: bench/bare_flock.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -g $(hardening) $(warnings) $(CFLAGS) $(link_flags) -o $@ $< $(LDFLAGS)

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
	$(if $(zookeeper_found),install -m 755 build/libdsync-zookeeper.so $(DESTDIR)$(PREFIX)/lib/)
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' dsync.pc.in >$(DESTDIR)$(PREFIX)/lib/pkgconfig/dsync.pc
	$(foreach v,$(install_luas),$(foreach f,$(lua_files),install -D -m 644 $(f) \
	  $(DESTDIR)$(PREFIX)/share/$(call lua_directory,$(v))/$(f:lua/%=%);))
	$(foreach v,$(install_luas),install -D -m 755 build/$(call lua_program,$(v))/dsync/core.so \
	  $(DESTDIR)$(PREFIX)/lib/$(call lua_directory,$(v))/dsync/core.so;)
	$(if $(zookeeper_found),$(foreach v,$(install_luas),install -m 755 build/libdsync-zookeeper.so \
	  $(DESTDIR)$(PREFIX)/lib/$(call lua_directory,$(v))/dsync/;))
	$(foreach v,$(install_luas),install -D -m 755 build/$(call lua_program,$(v))/dsync/process.so \
	  $(DESTDIR)$(PREFIX)/lib/$(call lua_directory,$(v))/dsync/process.so;)
	install -d $(DESTDIR)$(PREFIX)/bin
	sed '1s|.*|#!$(shell command -v $(call lua_program,$(check_lua)))|; s|^local prefix$$|local prefix = "$(PREFIX)"|' bin/dsync \
	  >$(DESTDIR)$(PREFIX)/bin/dsync && chmod 755 $(DESTDIR)$(PREFIX)/bin/dsync
	install -D -m 644 man/dsync.1 $(DESTDIR)$(PREFIX)/share/man/man1/dsync.1
	install -D -m 644 completions/dsync.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/dsync
	install -D -m 644 completions/_dsync $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_dsync

clean:
	rm -rf build
