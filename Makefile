# Every step is done once: stamps in build/stamps say so. `make help` lists what is for people.
# Needs make and Python 3.11; on Debian and Ubuntu, as root, what else is missing is installed (images/host/packages.txt).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := build/stamps
PYTEST := $(BIN)/python -m pytest
FUZZ_SECONDS ?= 600
PROCESSES ?= 4
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# A service's environment, or a container's, may be without: what is kept (~/.cache/mirror-run, Go's modules) needs a place.
HOME ?= $(shell getent passwd "$$(id -u)" | cut -d : -f 6)
export HOME

C_SOURCES := $(wildcard native/*.[ch] agent/*.[ch] agent/gate/*.[ch] agent/http/*.[ch] agent/http/*.cc layer/netstack/*.[ch] layer/netstack/arch/*.h layer/init/*.[ch] layer/preload/*.[ch] agent/files/*.[ch] layer/files/*.[ch])
NATIVE_SOURCES := $(C_SOURCES) $(wildcard native/*.py agent/build.py layer/netstack/build.py) images/build_native.py
IMAGE_SOURCES := $(NATIVE_SOURCES) $(wildcard wire/*.py links/*.py agent/*.py layer/*.py layer/*/*.py images/*) \
                 runner/sources.py runner/base.py runner/images.py
C_LINTED := $(filter-out layer/netstack/lwip.c,$(wildcard native/*.c agent/*.c agent/gate/*.c agent/http/*.c layer/netstack/*.c layer/init/*.c layer/preload/*.c agent/files/*.c layer/files/*.c))

.DELETE_ON_ERROR:
.PHONY: help setup engine cluster cluster-down compose images native test test-unit lint format fuzz bench demo docs clean clean-host

help:
	@echo 'make demo        the main job, shown on compose.yaml (sets up everything it needs)'
	@echo 'make test        all tests, set-up included'
	@echo 'make test-unit   those that need neither root nor an engine'
	@echo 'make setup       .venv with a working mirror-run'
	@echo 'make lint        ruff, mypy, clang-format, clang-tidy       make format  what can be mended by itself'
	@echo 'make bench       figures against peers: a table and build/bench.json'
	@echo 'make fuzz        every fuzzer for FUZZ_SECONDS ($(FUZZ_SECONDS))'
	@echo 'make engine      a container engine, if none answers        make images  what runs and tests are built on'
	@echo 'make cluster     a Kubernetes of two nodes       make cluster-down  stop it'
	@echo 'make clean-host  stop what set-up started, remove what it made'

# --- set-up ---------------------------------------------------------------------------------------------------------

setup: $(STAMPS)/venv

$(STAMPS)/venv: pyproject.toml images/host/install.sh
	@mkdir -p $(STAMPS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or newer is needed'; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || images/host/install.sh setup
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

engine:
	@images/host/engine.sh up

# The first time compiles it, 6 to 8 minutes; then 10 s, and nothing where it stands. build/cluster has kubeconfig and kubectl.
cluster: setup $(STAMPS)/packages-cluster
	@$(BIN)/python -m tests.cluster up

cluster-down:
	@$(PYTHON) -m tests.cluster down

compose:
	@docker compose version >/dev/null 2>&1 || docker-compose version >/dev/null 2>&1 || images/host/install.sh compose

# Packages of a group, once; on a machine where apt is not to be used, this says what is missing.
$(STAMPS)/packages-%: images/host/packages.txt
	@mkdir -p $(STAMPS)
	@images/host/install.sh $*
	@touch $@

native: $(STAMPS)/native

build/lwip/src/include/lwip/init.h: | $(STAMPS)/packages-build $(STAMPS)/venv
	$(BIN)/python images/fetch_lwip.py

$(STAMPS)/native: $(NATIVE_SOURCES) build/lwip/src/include/lwip/init.h | $(STAMPS)/packages-build $(STAMPS)/venv
	$(BIN)/python images/build_native.py --out . --only _netstack --only _engine
	@touch $@

# mmdebstrap is wanted only where no registry answers, and to be had only on Debian and Ubuntu.
images: setup engine
	@[ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || $(MAKE) -s $(STAMPS)/packages-base
	@$(BIN)/python images/ensure.py

# --- tests ----------------------------------------------------------------------------------------------------------

# A cluster of your own is left as it is, and none is started beside it: MIRROR_RUN_TEST_KUBECONFIG=FILE. Else the
# first run compiles one, as patiently as the tests of other things leave it time for.
test: setup engine compose $(STAMPS)/packages-build $(STAMPS)/packages-test $(if $(MIRROR_RUN_TEST_KUBECONFIG),,$(STAMPS)/packages-cluster)
	@PROCESSES=$(PROCESSES) tests/all.sh

test-unit: setup native $(STAMPS)/packages-test
	$(PYTEST) -n $(PROCESSES) -m 'not net and not engine and not slow'

lint: setup $(STAMPS)/packages-test build/lwip/src/include/lwip/init.h
	$(BIN)/ruff check
	$(BIN)/mypy
	@clang-format --dry-run -Werror $(C_SOURCES)
	@tests/tidy.sh $(C_LINTED)
	@echo 'C: formatted, and the analyser found nothing in $(words $(C_LINTED)) files'

format: setup $(STAMPS)/packages-test
	$(BIN)/ruff check --fix
	clang-format -i $(C_SOURCES)

fuzz: setup native $(STAMPS)/packages-test
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

bench: setup native engine images $(STAMPS)/packages-test
	$(BIN)/python tests/bench/run.py --out build/bench.json

demo: setup engine compose images
	@$(BIN)/python tests/demo/demo.py

docs: setup
	$(BIN)/python docs/generate.py

# --- away -----------------------------------------------------------------------------------------------------------

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find layer agent -name '*.so' -delete

# Only what set-up made: containers and images with our labels, then the engine, if it is the one that `make engine` started.
clean-host:
	@$(PYTHON) -m tests.cluster down
	@images/host/clean.sh
	@images/host/engine.sh down
