# python3.11 where it is there, else any newer python3.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: help quickstart test style quality

help:  ## these lines
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

quickstart: .venv/installed  ## the whole chain on the simulated factory: a table of scores and a report
	$(BIN)/hf-asd run recipes/factory

test: .venv/installed  ## the test suite
	$(BIN)/python -m pytest

style: .venv/installed  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

quality: .venv/installed  ## check format and common faults
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --quiet -c constraints.txt torch
	$(BIN)/pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[dev]"
	touch $@
