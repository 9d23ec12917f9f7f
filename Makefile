# python3.11 where it is installed, else any newer python3.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: help quickstart test test-fast test-install style quality

help:  ## show these lines
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

quickstart: .venv/package  ## run all stages on the simulated factory: a table of scores and a report
	$(BIN)/hf-asd run recipes/factory

test: .venv/installed  ## run the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-fast: .venv/installed  ## run the tests that take less than a second each, on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow and not install"

test-install: .venv/installed  ## install what published repositories and bundles need, and run them (minutes, gigabytes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m install

style: .venv/installed  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

quality: .venv/installed  ## check format, common faults and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# A module is compiled when it is imported first: compiling all of all packages takes most of a minute.
.venv/package: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --quiet --no-compile -c constraints.txt torch
	$(BIN)/pip install --disable-pip-version-check --quiet --no-compile -c constraints.txt -e .
	touch $@

# What tests need beside the package.
.venv/installed: .venv/package
	$(BIN)/pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[dev]"
	touch $@
