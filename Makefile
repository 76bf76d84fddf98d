# `make demo` and `make test` do all their own set-up; the second time they start at once.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
LOWEST := $(VENV)-lowest
DOCS   := $(VENV)-docs
KERAS  := keras==3.15.1 h5py numpy
# A build without CUDA is a tenth as large, where the package index has one: make test-backends TORCH=torch==2.13.0+cpu
TORCH  ?= torch
# Files of tests on every core, in the order of tests/conftest.py
CORES  := -n auto --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-fast test-lowest test-browser test-backends lint format clean samples bench sweep ends fuzz docs pictures

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" sh sample_models/demo.sh

test: $(READY)
	$(BIN)/python -m pytest $(CORES) -m 'not browser and not backends and not sweep'

test-fast: $(READY)
	$(BIN)/python -m pytest -m 'not tensorflow and not browser and not backends and not sweep'

# The same with the lowest version of everything that pyproject.toml allows.
test-lowest: $(LOWEST)/.ready
	$(LOWEST)/bin/python -m pytest $(CORES) -m 'not browser and not backends and not sweep'

$(LOWEST)/.ready: pyproject.toml tests/lowest.py
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(PYTHON) tests/lowest.py > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint $(LOWEST)/lowest.txt --editable '.[dev]'
	touch $@

test-browser: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,browser]'
	sh tests/browser/install.sh
	$(BIN)/python -m pytest tests/browser

# Other backends and another version of Keras, each in an environment of its own: 4 GB, most of it TensorFlow and jaxlib.
test-backends: $(READY) $(VENV)-jax/.ready $(VENV)-torch/.ready $(VENV)-keras/.ready
	$(BIN)/python -m pytest -m backends tests/backends

$(VENV)-jax/.ready: PACKAGES := $(KERAS) 'jax[cpu]'
$(VENV)-torch/.ready: PACKAGES := $(KERAS) $(TORCH)
$(VENV)-keras/.ready: PACKAGES := keras==3.10.0 tensorflow==2.19.0

$(VENV)-jax/.ready $(VENV)-torch/.ready $(VENV)-keras/.ready:
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(PACKAGES)
	touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python benchmarks/run.py

sweep: $(READY)
	$(BIN)/python tests/sweep.py
	$(BIN)/python tests/pairing_sweep.py
	$(BIN)/python -m pytest $(CORES) -m sweep

ends: $(READY)
	$(BIN)/python tests/ends.py --runs writer --kills 400
	$(BIN)/python tests/ends.py --runs command --kills 200 --small
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python tests/worker_ends.py --kills 50

fuzz: $(READY)
	$(BIN)/python tests/fuzz.py

# The pages in docs/, into build/docs. A broken link or a missing reference is an error; the build needs no network.
docs: $(DOCS)/.ready
	$(DOCS)/bin/python -m sphinx --builder html --fresh-env --nitpicky --fail-on-warning --keep-going \
	  docs build/docs

$(DOCS)/.ready: pyproject.toml
	test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

# The pictures in README.md and docs/, drawn again.
pictures: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" sh docs/images/make.sh

samples: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[samples]'
	$(BIN)/python sample_models/make.py

clean:
	rm -rf $(VENV) $(VENV)-* build dist demo-output
