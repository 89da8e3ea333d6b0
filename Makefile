# make audit · make test · recsae --help. Everything a run writes goes under var/; the environment is .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: audit test test-unit lint bench clean help install

# Python 3.11 or 3.10; give another with PYTHON=/path/to/python.
PYTHON ?= $(shell for candidate in python3.11 python3.10 python3 python; do \
	if $$candidate -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))' 2>/dev/null; \
	then command -v $$candidate; break; fi; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
# Two processes of one thread each: on two cores, threads of several processes would wait for each other.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
DT ?=
CONF ?= conf/local.yaml

audit: $(INSTALLED) ## audit SASRec on MovieLens-100K, from raw ratings to published concept tables (DT=YYYY-MM-DD, CONF=FILE)
	$(BIN)/recsae audit --conf $(CONF) $(if $(DT),--dt $(DT))

test: lint ## lint, then every test
	$(PYTEST)

test-unit: $(INSTALLED) ## the tests that take under 3 minutes together
	$(PYTEST) -m "not integration"

lint: $(INSTALLED) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED) ## measure speed and memory (ONLY=name); figures go to var/bench/NAME.json
	$(BIN)/python -m tests.benchmarks $(if $(ONLY),--only $(ONLY))

install: $(INSTALLED) ## create .venv with everything, once

$(INSTALLED): setup.py conf/requirements/base.txt conf/requirements/dev.txt conf/requirements/constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
		echo "recsae needs Python 3.10 or 3.11 and found neither on PATH. Install one, or name it: make PYTHON=/path/to/python3.11" >&2; \
		exit 2; fi
	@echo "Installing into .venv with $(PYTHON) (some minutes, once)"
	$(PYTHON) -m venv .venv
	@# One resolve: a second one could move pyarrow, or fetch another build of torch.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c conf/requirements/constraints.txt \
		-r conf/requirements/base.txt -r conf/requirements/dev.txt -e .
	@touch $@

clean: ## remove what runs wrote (var/) and the caches; .venv stays
	rm -rf var .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info spark-warehouse metastore_db derby.log

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 18
