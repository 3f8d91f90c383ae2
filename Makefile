# A thin front for Meson and Ninja. `make check` is what CI runs.
BUILD ?= build
SECONDS ?= 60

.PHONY: all deps demo check kernel-selftests torture bench asan tsan cross fuzz lint format install clean

all: deps-build
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) >/dev/null
	@ninja -C $(BUILD)

deps-build:
	@tools/install-deps.sh build
deps:
	@tools/install-deps.sh check

demo: all deps
	@tools/demo.sh $(BUILD)

check: deps all
	@tools/run-tests.py $(BUILD)

# The kernel's own tail call tests, unmodified; fetches their source into the build folder.
kernel-selftests: all
	@tools/kernel-selftests.sh $(BUILD)/src/inlay $(BUILD)/kernel-selftests

# Every cell to 10^9 executions and 10^6 toggles, half an hour on a quiet machine, and on from where it was interrupted; then 10^5
# attachments in one agent. SECONDS=n: n seconds of the first.
torture: SECONDS =
torture: deps all
	@$(BUILD)/tests/torture/torture-poke $(or $(SECONDS),-o $(BUILD)/torture.cells)
	@$(BUILD)/tests/torture/torture-tail $(or $(SECONDS),60)
	@test -n "$(SECONDS)" || INLAY_BUILD=$(BUILD) $(BUILD)/tests/torture/torture-cycles 100000

# A minute unless SECONDS=n says otherwise.
fuzz: deps all
	@fuzz/run.sh $(BUILD) $(SECONDS)

bench: deps all
	@bench/run.sh $(BUILD)

asan: deps
	@test -f build-asan/build.ninja || meson setup build-asan -Db_sanitize=address,undefined -Db_lundef=false >/dev/null
	@ninja -C build-asan
	@tools/run-tests.py build-asan --no-suite lint --no-suite torture

tsan: deps
	@test -f build-tsan/build.ninja || meson setup build-tsan -Db_sanitize=thread -Db_lundef=false >/dev/null
	@ninja -C build-tsan
	@tools/run-tests.py build-tsan --suite sync --suite maps --suite hook --suite exec --suite object

# Another CPU, emulated: the arm64 JIT and what else needs libc alone. A few minutes; PROGRAMS=n: n random programs.
cross:
	@tools/install-deps.sh cross
	@test -f build-cross/build.ninja || meson setup build-cross --cross-file tools/cross-aarch64.ini >/dev/null
	@ninja -C build-cross
	@$(if $(PROGRAMS),INLAY_PROGRAMS=$(PROGRAMS)) tools/run-tests.py build-cross

lint: deps
	@tools/lint.sh

format:
	@clang-format -i $$(git ls-files 'src/*.[ch]' 'tests/*.[ch]' 'bench/*.[ch]' 'include/*.h')

install: all
	@meson install -C $(BUILD)

clean:
	rm -rf build build-asan build-tsan build-cross
