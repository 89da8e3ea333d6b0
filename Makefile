# make audit · make test · recsae --help. Everything a run writes goes under var/. The environment is .venv; .venv-airflow
# is that of Airflow, .venv-wheel that in which the tests install the wheel.
SHELL := /bin/bash
# Python compiles what is imported, once; pip would compile everything, which takes longer than to install it.
unexport PYTHONDONTWRITEBYTECODE
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile
.DEFAULT_GOAL := help
# Both environments at once, where a goal needs both.
MAKEFLAGS += --jobs=2
.PHONY: audit airflow nightly sql-server test test-unit lint bench faults clean help install install-airflow lock ranges

# Python 3.11, 3.12 or 3.10; give another with PYTHON=/path/to/python.
PYTHON ?= $(shell for candidate in python3.11 python3.12 python3.10 python3 python; do \
	if $$candidate -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null; \
	then command -v $$candidate; break; fi; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
# Two processes of one thread each: on two cores, threads of several would wait for each other. What takes longest
# goes first (tests/conftest.py); beyond that the order is random, and the seed that repeats it is printed first.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --no-loadscope-reorder $(if $(SEED),--randomly-seed=$(SEED))
AIRFLOW_INSTALLED := .venv-airflow/.installed
WHEEL_INSTALLED := .venv-wheel/.installed
AXE := .venv/axe-core/axe.min.js
AXE_SHA256 := 29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c
LOCAL_AIRFLOW = .venv-airflow/bin/python airflow_dags/local_airflow.py
# What a package must be is in the locks, with the hashes of its files. torch has many builds, of which a machine or an
# index offers one: it is held to the locked files by LOCKED=1 only.
LOCKS := conf/requirements/locked.txt conf/requirements/locked-torch.txt
HASHED := --no-deps --require-hashes
PINS := .venv/.pins
PORT ?= 8080
DT ?=
CONF ?= conf/local.yaml

audit: $(INSTALLED) ## audit SASRec on MovieLens-100K, from raw ratings to published concept tables (DT=YYYY-MM-DD, CONF=FILE)
	$(BIN)/recsae audit --conf $(CONF) $(if $(DT),--dt $(DT))

airflow: $(INSTALLED) $(AIRFLOW_INSTALLED) ## a local Airflow with everything wired, until Ctrl-C (CONF=FILE, PORT=8080)
	$(LOCAL_AIRFLOW) serve --conf $(CONF) --port $(PORT)

nightly: $(INSTALLED) $(AIRFLOW_INSTALLED) ## one audit through Airflow's scheduler (DT=YYYY-MM-DD, CONF=FILE)
	@if [ -z "$(DT)" ]; then echo "Of which date? make nightly DT=2026-11-20" >&2; exit 2; fi
	$(LOCAL_AIRFLOW) night --conf $(CONF) --dt $(DT)

sql-server: $(INSTALLED) ## the tables for SQL clients, until Ctrl-C: jdbc:hive2://127.0.0.1:PORT/NAMESPACE (CONF=FILE, PORT=10000)
	$(BIN)/recsae sql-server --conf $(CONF) $(if $(filter command line,$(origin PORT)),--port $(PORT))

test: lint $(AIRFLOW_INSTALLED) $(WHEEL_INSTALLED) $(AXE) ## lint, then every test, in a random order (SEED=123 repeats one)
	$(PYTEST)

test-unit: $(INSTALLED) ## the tests that run no whole job and start no process
	$(PYTEST) -m "not integration"

lint: $(INSTALLED) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED) $(AIRFLOW_INSTALLED) ## measure speed and memory (ONLY=name); figures go to var/bench/NAME.json
	$(BIN)/python -m tests.benchmarks $(if $(ONLY),--only $(ONLY))

faults: $(INSTALLED) ## break nights for real (kills, full disk, lost servers, …) and compare what they come to (ONLY=name, KILLS=50, SEED=1)
	$(BIN)/python -m tests.faults $(if $(ONLY),--only $(ONLY)) $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED))

install: $(INSTALLED) ## create .venv with everything, once (LOCKED=1: torch by its hashes too, as the package index has it)

$(INSTALLED): setup.py conf/requirements/base.txt conf/requirements/dev.txt $(LOCKS)
	@if [ -z "$(PYTHON)" ]; then \
		echo "recsae needs Python 3.10, 3.11 or 3.12 and found none of them on PATH (pyarrow 14 has no build for later ones). Install one, or name it: make PYTHON=/path/to/python3.11" >&2; \
		exit 2; fi
	@echo "Installing into .venv with $(PYTHON) (some minutes, once)"
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP_INSTALL) $(HASHED) -r conf/requirements/locked.txt
	$(if $(LOCKED),$(BIN)/python $(PIP_INSTALL) $(HASHED) -r conf/requirements/locked-torch.txt)
	@# What is left is the package itself and, without LOCKED=1, torch: constrained, it moves nothing of the above.
	@sed -E '/^ +--hash/d; s/ *\\$$//' $(LOCKS) > $(PINS)
	$(BIN)/python $(PIP_INSTALL) -c $(PINS) -r conf/requirements/base.txt -r conf/requirements/dev.txt -e .
	@touch $@

install-airflow: $(AIRFLOW_INSTALLED) ## create .venv-airflow, once

$(AIRFLOW_INSTALLED): conf/requirements/airflow.txt conf/requirements/locked-airflow.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Airflow's Spark provider needs Python 3.11 or 3.12. Name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "Installing Airflow into .venv-airflow with $(PYTHON) (some minutes, once)"
	$(PYTHON) -m venv .venv-airflow
	.venv-airflow/bin/python $(PIP_INSTALL) $(HASHED) -r conf/requirements/locked-airflow.txt
	@touch $@

# By which the tests look for barriers in pages. Python packages of it are years old; without npm its test is skipped.
$(AXE): $(INSTALLED)
	@mkdir -p $(dir $@)
	@if command -v npm >/dev/null && npm pack --silent axe-core@4.14.1 --pack-destination $(dir $@) >/dev/null; then \
		tar -xzf $(dir $@)axe-core-4.14.1.tgz -C $(dir $@) --strip-components=1 package/axe.min.js && \
		{ echo "$(AXE_SHA256)  $@" | sha256sum --check --quiet || { rm $@; exit 1; }; }; \
	else echo "npm does not give axe-core: the test of barriers in pages is skipped" >&2; fi

# As a person installs it: with what setup.py asks for, at the versions that were tried together.
$(WHEEL_INSTALLED): setup.py conf/requirements/base.txt $(INSTALLED)
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python $(PIP_INSTALL) -c $(PINS) . setuptools wheel
	@rm -rf build
	@touch $@

lock: $(INSTALLED) ## write the locks anew after a change of the pins; what they allow stays as it is
	$(BIN)/python -m tests.ranges.lock

ranges: $(INSTALLED) ## install the lowest versions that setup.py allows, then the highest, and try both (END=lowest|highest)
	$(BIN)/python -m tests.ranges $(if $(END),--end $(END))

clean: ## remove what runs wrote (var/) and the caches; the environments stay
	rm -rf var .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info spark-warehouse metastore_db derby.log

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 18
