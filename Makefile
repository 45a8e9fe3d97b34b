# Builds and checks; CONTRIBUTING.md says when to use which.

PYTHON ?= python
BUILD := $(PYTHON) setup.py -q build_scripts --build-dir build/bin build_ext --inplace
ASAN := build/asan
FUZZ_COUNT ?= 1000000
FUZZ_SEED ?= 1
FUZZ_JOBS ?= 1
SANITIZED = PYTHONPATH=$(CURDIR)/$(ASAN):$(CURDIR) PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0:max_allocation_size_mb=2048:allocator_may_return_null=1 \
	UBSAN_OPTIONS=print_stacktrace=1 \
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)"

SUITE =

.PHONY: build debug asan asan-build test suite bench lint annotate coverage fuzz clean

build:  ## compile in place, optimized; vgi-fast-run goes to build/bin
	$(BUILD) --force

debug:  ## compile in place, with assertions and live-object counters
	VGI_FAST_DEBUG=1 $(BUILD) --force

test:
	$(PYTHON) -m pytest

suite:  ## the extension's tests; needs VGI_SRC and VGI_UNITTEST. SUITE: options, e.g. SUITE='--lane stdio'
	$(PYTHON) -m tests.suite $(SUITE)

bench:  ## every benchmark prints a table and appends to benchmarks/results
	for name in $$(grep -l __main__ benchmarks/core/*.py benchmarks/e2e/*.py); do \
		$(PYTHON) -m $$(echo $${name%.py} | tr / .) || exit 1; \
	done

asan-build:
	mkdir -p $(ASAN)
	VGI_FAST_SANITIZE=1 VGI_FAST_DEBUG=1 $(PYTHON) setup.py -q build \
		--build-base $(ASAN)/objects --build-lib $(ASAN)

asan: asan-build  ## tests of the core under AddressSanitizer and UndefinedBehaviorSanitizer
	$(SANITIZED) $(PYTHON) -m pytest --capture=sys tests/core

fuzz: asan-build  ## mutated messages on the sanitizer build; FUZZ_COUNT, FUZZ_SEED, FUZZ_JOBS
	$(SANITIZED) nice $(PYTHON) -m tests.fuzz.fuzz_core --count $(FUZZ_COUNT) --seed $(FUZZ_SEED) \
		--jobs $(FUZZ_JOBS) --keep $(ASAN)/message

annotate:  ## src/vgi_fast/_core.html: inner loops must be white
	VGI_FAST_ANNOTATE=1 $(BUILD) --force

coverage:  ## of the Python layers and, line by line, of the core; leaves a traced build in place
	VGI_FAST_LINETRACE=1 $(BUILD) --force
	COVERAGE_CORE=ctrace $(PYTHON) -m coverage run -m pytest
	$(PYTHON) -m coverage report -i

lint:
	ruff check .
	ruff format --check .
	mypy src tests
	MYPYPATH=src $(PYTHON) -m mypy.stubtest vgi_fast._core --mypy-config-file pyproject.toml \
		--allowlist tests/core/stubtest_allowlist.txt
	@mkdir -p build/lint
	@# Joined, so that what one part imports for another counts as used.
	awk '/^include "/ {gsub(/"/, "", $$2); file = "src/vgi_fast/" $$2; \
		while ((getline line < file) > 0) print line; print ""; next} {print}' \
		src/vgi_fast/_core.pyx > build/lint/_core.pyx
	cython-lint build/lint/_core.pyx

clean:
	rm -rf build dist src/vgi_fast/_core.c src/vgi_fast/_core.html src/vgi_fast/*.so src/*.egg-info
