# make demo   see it work: a local Ray, jobs on schedules, the history in pandas
# make test   lint, types, import layers, and every test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test
.DEFAULT_GOAL := demo

demo: $(VENV)/installed
	$(BIN)/raysched demo

test: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 --dist worksteal tests/unit tests/contract tests/simulation
	$(BIN)/pytest -n 2 --dist loadfile tests/integration
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder tests/e2e

# Three runs of pytest: unit tests must not find Ray loaded, and a process can be on one Ray only.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "raysched needs Python 3.11 or newer"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@
