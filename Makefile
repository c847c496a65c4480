# Every purpose is one command that works alone on a bare machine with Python 3.11 or later and make.
# Environments are built from the lock files beside this one and rebuilt when those change.

# The first of some interpreters that can make environments and whose sys.hexversion satisfies a condition.
python = $(shell for candidate in $(1); do \
	$$candidate -c 'import sys, venv, ensurepip; sys.exit(not ($(2)))' >/dev/null 2>&1 && echo $$candidate && break; done)
PYTHON ?= $(call python,python3 python3.13 python3.12 python3.11 python3.14,sys.hexversion >= 0x030b0000)
# MLServer 1.7 refuses Python 3.13.
PYTHON_BEFORE_313 = $(call python,$(PYTHON) python3.12 python3.11,0x030b0000 <= sys.hexversion < 0x030d0000)

LENGTH ?= short
SERVER ?= builtin
export LENGTH

# One that is there keeps its interpreter: a second one in the same folder would break both.
environment = { $(2)/bin/python -m pip --version >/dev/null 2>&1 || $(1) -m venv --clear $(2); }

BIN := .venv/bin
COMPILED := .venv-compiled
CAN_COMPILE := $(BIN)/python -c 'import pathlib, shutil, sys, sysconfig; \
	sys.exit(not (shutil.which("cc") and pathlib.Path(sysconfig.get_path("include"), "Python.h").exists()))'
SOURCES := $(wildcard filters/*.py config/*.py config/*/*.py proxy/*.py proxy/*/*.py proxy/*/*/*.py)
PIP_FLAGS := --quiet --disable-pip-version-check --no-input
# A lock file names everything there is to install: nothing is left to resolve, and nothing newer can get in.
FROM_LOCK := $(PIP_FLAGS) --no-deps --require-hashes -r
NO_PYTHON := with venv was found: install it (Debian: apt-get install python3 python3-venv) or say make PYTHON=/path/to/python3
SERVERS := kserve mlserver llama
REAL_SERVER = $(filter $(SERVERS),$(SERVER))
E2E_SERVERS = kserve llama $(if $(PYTHON_BEFORE_313),mlserver)
TRACE_BACKENDS := phoenix mlflow

.PHONY: help setup demo screenshots test pytest whole e2e bench faults fuzz lint format typecheck lock clean packages
.DELETE_ON_ERROR:

help:  ## this list
	@sed -n 's/^\([a-z0-9]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: .venv/run.stamp $(REAL_SERVER:%=.venv-%/stamp)  ## the environments alone, that of SERVER too

demo: setup  ## three models, the proxy, a load, the comparison; SERVER=kserve|mlserver|llama for real model servers; STAY=1 keeps them running
	@$(BIN)/python -m demo --server $(SERVER) $(if $(STAY),--stay) $(ARGS)

screenshots: setup  ## the pictures of docs/see-traces.md anew: MLServer, the proxy, Phoenix and MLflow, Chromium
	@$(MAKE) --no-print-directory $(TRACE_BACKENDS:%=.venv-%/stamp) .venv-mlserver/stamp
	@$(BIN)/python -m demo.traces $(ARGS)

test: lint typecheck pytest whole  ## lint, types and the whole suite at short lengths (LENGTH=full for more)

# Tests of all but the data plane, over the sources.
pytest: .venv/dev.stamp packages .venv-npm/stamp
	$(BIN)/python -m pytest -m "not e2e" $(WHOLE:%=--ignore=%) $(ARGS)

# Tests of the data plane and the whole program, over the compiled one that users run, where a C compiler is at hand.
WHOLE := tests/proxy tests/wire tests/fuzz tests/faults
define PYTEST_WHOLE
	@python=$(BIN)/python; \
	if $(CAN_COMPILE); then $(MAKE) --no-print-directory $(COMPILED)/stamp || exit; python=$(COMPILED)/bin/python; \
	else echo "no C compiler or no Python.h: the sources are tested, not the compiled data plane"; fi; \
	$$python -m pytest $(1) $(ARGS)
endef

whole: .venv/dev.stamp packages .venv-npm/stamp
	$(call PYTEST_WHOLE,-m "not e2e" tests/bench/test_chained.py $(WHOLE))

e2e: .venv/dev.stamp .venv-npm/stamp  ## the same bytes with and without the proxy, over real model servers; their traces
	@$(MAKE) --no-print-directory $(E2E_SERVERS:%=.venv-%/stamp) .venv-phoenix/stamp
	$(BIN)/python -m pytest -m e2e tests/e2e $(ARGS)

faults: .venv/dev.stamp packages .venv-npm/stamp  ## provoke every fault and print the table of what the client saw
	$(call PYTEST_WHOLE,-s tests/faults)

fuzz: .venv/dev.stamp packages  ## hostile messages, judged by an independent reader
	$(call PYTEST_WHOLE,tests/wire tests/fuzz)

bench: $(COMPILED)/stamp  ## side by side with Envoy, an aiohttp proxy and the bare loop
	@tests/install-debian-packages bench/debian-packages.txt
	$(COMPILED)/bin/python -m bench $(ARGS)

lint: .venv/dev.stamp  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/dev.stamp  ## ruff: rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: .venv/dev.stamp .typecheck/understudy/filters .typecheck/understudy/config .typecheck/understudy/proxy  ## mypy --strict
	$(BIN)/mypy -p understudy.filters -p understudy.config -p understudy.proxy
	$(BIN)/mypy -p demo -p bench

# mypy finds the three folders under their import names through symlinks.
.typecheck/understudy/%:
	@mkdir -p $(@D)
	@ln -sfn ../../$* $@

packages:
	@tests/install-debian-packages tests/debian-packages.txt bench/debian-packages.txt

# A real OTLP backend for tests. Without npm they say what they miss.
.venv-npm/stamp: tests/npm/package.json tests/npm/package-lock.json tests/npm/.npmrc | packages
	@mkdir -p $(@D) && cp $^ $(@D)
	@if command -v npm >/dev/null; then npm ci --prefix $(@D) --ignore-scripts --silent && touch $@; \
	else echo "no npm: the export of telemetry cannot be tested (Debian: apt-get install nodejs npm)" >&2; fi

.venv/run.stamp: requirements.lock pyproject.toml setup.py
	@$(if $(PYTHON),,echo "no Python 3.11 or later $(NO_PYTHON)" >&2; exit 1)
	@echo "setting up .venv with $$($(PYTHON) --version)"
	@$(call environment,$(PYTHON),.venv)
	@$(BIN)/python -m pip install $(FROM_LOCK) requirements.lock
	@UNDERSTUDY_COMPILE=0 $(BIN)/python -m pip install $(PIP_FLAGS) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev.stamp: requirements-dev.lock .venv/run.stamp
	@$(BIN)/python -m pip install $(FROM_LOCK) requirements-dev.lock
	@touch $@

# An installation as users have it, not an editable one: compiled where a C compiler is at hand.
$(COMPILED)/packages.stamp: requirements-dev.lock requirements-bench.lock .venv/dev.stamp
	@$(call environment,$(BIN)/python,$(COMPILED))
	@$(COMPILED)/bin/python -m pip install $(FROM_LOCK) requirements-dev.lock
	@$(COMPILED)/bin/python -m pip install $(FROM_LOCK) requirements-bench.lock
	@touch $@

$(COMPILED)/stamp: $(COMPILED)/packages.stamp pyproject.toml setup.py $(SOURCES)
	@echo "compiling the data plane into $(COMPILED)"
	@rm -rf build
	@$(COMPILED)/bin/python -m pip install $(PIP_FLAGS) --no-deps --no-build-isolation --force-reinstall .
	@touch $@

# A model server has an environment of its own, a backend of traces too: their dependencies are not ours.
.venv-mlserver/stamp: SERVER_PYTHON = $(PYTHON_BEFORE_313)
.venv-%/stamp: SERVER_PYTHON = $(PYTHON)
define INSTALL_SERVER
	@$(if $(SERVER_PYTHON),,echo "no Python that $* runs on $(NO_PYTHON)" >&2; exit 1)
	@echo "setting up .venv-$* (some hundred megabytes)"
	@$(call environment,$(SERVER_PYTHON),.venv-$*)
	@.venv-$*/bin/python -m pip install $(FROM_LOCK) $<
	@touch $@
endef
.venv-%/stamp: demo/servers/%.lock
	$(INSTALL_SERVER)

.venv-%/stamp: demo/traces/%.lock
	$(INSTALL_SERVER)

UV := .venv-lock/bin/uv
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url --no-emit-find-links $(ARGS)

lock:  ## resolve every lock file anew (ARGS=--upgrade for the newest versions)
	@$(call environment,$(PYTHON),.venv-lock) && .venv-lock/bin/pip install $(PIP_FLAGS) uv
	$(COMPILE) pyproject.toml --extra build -o requirements.lock
	$(COMPILE) pyproject.toml --extra build --extra dev -c requirements.lock -o requirements-dev.lock
	$(COMPILE) pyproject.toml --extra build --extra bench -c requirements-dev.lock -o requirements-bench.lock
	$(foreach server,$(SERVERS),$(COMPILE) demo/servers/$(server).in -o demo/servers/$(server).lock &&) true
	$(foreach each,$(TRACE_BACKENDS),$(COMPILE) --no-strip-extras demo/traces/$(each).in -o demo/traces/$(each).lock &&) true
	$(PYTHON) tests/npm/relock.py

clean:  ## remove the environments and what the tools left
	rm -rf .venv .venv-* .typecheck .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
