# `make demo` and `make test` do all their own set-up; the second time they start at once.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test test-fast lint format clean samples bench sweep

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" sh sample_models/demo.sh

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile

test-fast: $(READY)
	$(BIN)/python -m pytest -m 'not tensorflow'

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/activations.py
	$(BIN)/python benchmarks/gradients.py
	$(BIN)/python benchmarks/per_example.py
	$(BIN)/python benchmarks/callback.py
	$(BIN)/python benchmarks/diff.py

sweep: $(READY)
	$(BIN)/python tests/sweep.py

samples: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[samples]'
	$(BIN)/python sample_models/make.py

clean:
	rm -rf $(VENV) build dist demo-output
