# Everything sets itself up: `make demo` and `make test` work from a fresh clone.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS ?= dev
PYTEST_ARGS ?= -q -n auto --dist loadfile
DEMO_ARGS ?=
FUZZ_ARGS ?= --seconds 600
TABLE2_ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The first Python ≥ 3.11 that can make an environment; `make PYTHON=/path/to/python3.13 install` overrides.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)

.PHONY: help install demo test test-long hostile fuzz lint bench table2 clean

help:
	@echo 'make demo       find a simulator of the boarding-school influenza of 1978'
	@echo 'make test       the fast tests          make test-long  all of them'
	@echo 'make hostile    hostile programs against the sandbox, without the guard and with it'
	@echo 'make fuzz       random edits of programs and documents (FUZZ_ARGS="--seconds 600")'
	@echo 'make lint       ruff and pyright        make bench      every benchmark'
	@echo 'make table2     the paper'"'"'s main table, all rows (TABLE2_ARGS="--quick"); goes on where it stopped'
	@echo 'make install    only set up $(VENV)     (EXTRAS=dev,cuda13 for a GPU; PYTHON=... to choose)'

install: $(STAMP)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo 'make: no python3 of version 3.11 or newer with venv found; install one or set PYTHON=/path/to/python' >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

demo: $(STAMP)
	$(BIN)/gsim run envs/boarding_school_flu $(DEMO_ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-long: $(STAMP)
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m 'slow or not slow'

# Every program, with all layers of isolation and with fewer, and everything that competent people write.
hostile: $(STAMP)
	$(BIN)/python -m pytest -q tests/simulator/hostile tests/simulator/test_legitimate.py -m 'slow or not slow'

fuzz: $(STAMP)
	$(BIN)/python tools/fuzz.py $(FUZZ_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# Those that need no reference data and take minutes; posterior wants --reference, npe and table2 take
# long.
bench: $(STAMP)
	@for name in metric throughput whatif calibrate; do $(BIN)/gsim bench $$name || exit; done

# Only what is missing is computed: a run that was cut short goes on.
table2: $(STAMP)
	$(BIN)/gsim bench table2 -- $(TABLE2_ARGS)

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
