# `make demo` and `make test` do all the set-up that they need, in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SOURCES = setup.py pyproject.toml $(wildcard src/cpool/*.py src/cpool/*.pyi src/cpool/*.pyx src/cpool/*.pxd src/cpool/simd/*)

.PHONY: help demo test lint build bench clean
help:
	@echo "make demo    pool something, check it, and show speed and configuration"
	@echo "make test    run the tests"
	@echo "make lint    ruff, mypy and cython-lint"
	@echo "make build   source distribution and wheel, in dist/"
	@echo "make bench   cpool against torch (if installed) and the memory's speed"
	@echo "make clean   remove what was built"

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(BIN):$$PATH" $(BIN)/cython-lint src/cpool
	$(BIN)/mypy

build: $(VENV)/.dev
	$(BIN)/python -m build

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/peers.py

$(VENV)/.made:
	@sh tools/prerequisites.sh "$(PYTHON)"
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made $(SOURCES)
	$(BIN)/python -m pip install --quiet ".[test]"
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) build dist src/cpool.egg-info src/cpool/_kernels.c src/cpool/_kernels*.so
