# make demo: build a small dataset with the embedded miniature.   make test: the test suite.
# Both set up a virtual environment first; nothing else is needed but Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-slow test-faults check setup schemas

demo: $(READY)
	$(BIN)/dentgen generate jobs/specs/demo.yaml

test: $(READY)
	$(BIN)/pytest -q -m "not slow and not faults"

test-slow: $(READY)
	$(BIN)/pytest -q -m slow

test-faults: $(READY)
	$(BIN)/pytest -q -m faults

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

schemas: $(READY)
	$(BIN)/dentgen schemas schemas

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY)
