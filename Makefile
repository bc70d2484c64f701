# Shortcuts only: CMake is the build description (CMakePresets.json names the kinds of build).

JOBS ?= $(shell nproc 2>/dev/null || echo 2)
PREFIX ?= /usr/local
MODEL = models/halyard-tiny-rwkv7-Q4_K_M.gguf

.PHONY: release demo test debug asan tsan clang m32 arm64 coverage fuzz install clean help

release: ## the optimised program, build/release/halyard
	cmake --preset release
	cmake --build build/release -j $(JOBS)

demo: ## install what the build needs, build, and let the embedded model tell a story
	tools/install-deps.sh build
	@$(MAKE) --no-print-directory release
	build/release/halyard run -m $(MODEL) -p "Once upon a time" -n 120 --temp 0.7 -s 1

test: ## install what the tests need, build, and run all of them
	tools/install-deps.sh test
	cmake --preset release -DHALYARD_TESTS=ON
	cmake --build build/release -j $(JOBS)
	tools/run-tests.sh build/release

debug asan tsan clang m32 arm64: ## the tests in another kind of build
	cmake --preset $@ -DHALYARD_TESTS=ON
	cmake --build build/$@ -j $(JOBS)
	tools/run-tests.sh build/$@

coverage: ## lines covered by the tests, by folder
	tools/check-coverage.sh

fuzz: ## all fuzz targets, some seconds each (SECONDS_EACH=20)
	tools/check-fuzz.sh

install: ## to PREFIX=/usr/local (and DESTDIR)
	cmake --preset release -DCMAKE_INSTALL_PREFIX="$(PREFIX)"
	cmake --build build/release -j $(JOBS)
	cmake --install build/release

clean: ## remove build/
	cmake -E rm -rf build

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9 ]+:.*## / { printf "make %-28s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
