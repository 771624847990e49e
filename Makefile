# `make demo` and `make test` do all the set-up they need, in .venv, and do it again only when something changed.
# PYTHON=python3.12 takes that Python, in an environment of its own; CC=clang that compiler.
VENV ?= .venv$(addprefix -,$(subst /,-,$(patsubst /%,%,$(PYTHON))))
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# whatever the extension is made of; Python files are used where they lie
NATIVE = setup.py pyproject.toml $(wildcard tools/*.py src/cpool/*.pyx src/cpool/*.pxd src/cpool/simd/*)

.PHONY: help demo test lint format build bench bench-gate bench-site gate-errors peers docs clean FORCE
help:
	@echo "make demo    pool something, check it, show speed and configuration"
	@echo "make test    run the tests (PYTEST_ARGS='-k windows' some of them)"
	@echo "make lint    ruff, cython-lint, mypy, the workflows; make format mends what ruff can"
	@echo "make build   source distribution and wheel, in dist/"
	@echo "make bench   compare with torch, where installed, and with the memory's speed"
	@echo "make peers   compare with all peers, and write docs/peers.md (PEERS_ARGS='--most 60 --rounds 3': minutes)"
	@echo "make docs    build the site, in docs/_build"
	@echo "make bench-gate BASE=main   did anything get slower since? (GATE_ARGS='--only tiny')"
	@echo "make bench-site RANGE=v0.1.0..main   asv's site of the suite over some commits (SITE_ARGS='--steps 10')"
	@echo "make gate-errors   how often the gate is wrong; hours (ERRORS_ARGS='--runs 2')"
	@echo "make clean   remove all that was made, environments too"

demo: $(VENV)/.installed
	@$(POCL) || echo "PyOpenCL and PoCL can't be had here, so there is no OpenCL to see"
	PYTHONPATH="$$(echo $(CURDIR)/$(VENV)-pocl/lib/python*/site-packages)" $(BIN)/python examples/demo.py

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint src/cpool
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet .github/workflows

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: $(VENV)/.dev
	$(BIN)/python -m build

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/peers.py

# The page of the peers, measured in an environment of its own; cpool is the one in src, built for this Python.
peers: $(VENV)-peers/.installed
	PYTHONPATH=src $(VENV)-peers/bin/python benchmarks/peers.py --dtypes float32 --publish docs/peers.md $(PEERS_ARGS)

bench-gate: $(VENV)/.installed
	@test -n "$(BASE)" || { echo "which revision is the base? make bench-gate BASE=main"; exit 2; }
	$(BIN)/python benchmarks/gate.py "$(BASE)" $(GATE_ARGS)

bench-site: $(VENV)/.bench
	$(BIN)/python benchmarks/bench_site.py $(SITE_ARGS) $(RANGE)

gate-errors: $(VENV)/.bench
	$(BIN)/python benchmarks/gate_errors.py --publish $(ERRORS_ARGS)

# The site: cpool is the one in src, built for this Python.
docs: $(VENV)-docs/.installed
	PYTHONPATH=src $(VENV)-docs/bin/python -m sphinx -b html -W --keep-going -n -q docs docs/_build
	@echo "docs/_build/index.html"

$(VENV)/.made:
	@python=$$(sh tools/prerequisites.sh $(PYTHON)) && echo "$$python -m venv $(VENV)" && "$$python" -m venv $(VENV)
	$(PIP) "pip>=23"
	@touch $@

# The build needs no network once this is there: what [build-system] of pyproject.toml requires, checked below.
$(VENV)/.tools: $(VENV)/.made pyproject.toml
	$(PIP) "setuptools>=77" "Cython>=3.1" "numpy>=2"
	@touch $@

# Another compiler or another switch is a change, too.
$(VENV)/.switches: $(VENV)/.made FORCE
	@echo "$$CC $$CFLAGS $$CPPFLAGS $$LDFLAGS $$CPOOL_OPENMP $$CPOOL_WERROR $$CPOOL_SANITIZE" >$@.now
	@cmp -s $@.now $@ && rm $@.now || mv $@.now $@

$(VENV)/.installed: $(VENV)/.tools $(VENV)/.switches $(NATIVE)
	@echo "building cpool (a few minutes)"
	$(PIP) --no-build-isolation --check-build-dependencies --editable ".[test]"
	@touch $@

# The extra of the package that is installed already.
$(VENV)/.dev: $(VENV)/.installed pyproject.toml
	$(PIP) "cpool[dev]"
	@touch $@

# An OpenCL device, even if only PoCL's, for the demonstration: where wheels are to be had, and apart from the tests.
POCL = PIP_ONLY_BINARY=:all: PIP_RETRIES=1 PIP_TIMEOUT=10 $(MAKE) --silent $(VENV)-pocl/.installed 2>/dev/null

# What an extra ("docs", "peers") names, and what cpool itself needs, in an environment of its own.
EXTRA = from importlib.metadata import requires as r; import sys; \
	print(*(n.split(";")[0] for n in r("cpool") if "extra ==" not in n or sys.argv[1] in n.split(";")[1]), sep="\n")

$(VENV)-docs/.installed $(VENV)-peers/.installed $(VENV)-pocl/.installed: $(VENV)-%/.installed: $(VENV)/.installed
	$(BIN)/python -m venv $(VENV)-$*
	$(BIN)/python -c '$(EXTRA)' $* >$(VENV)-$*/requirements.txt
	$(VENV)-$*/bin/python -m pip install --quiet --requirement $(VENV)-$*/requirements.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.installed pyproject.toml
	$(PIP) "cpool[bench]"
	@touch $@

clean:
	rm -rf .venv .venv-* build dist docs/_build src/*.egg-info src/cpool/_*.so src/cpool/_*.pyd
	rm -rf .bench .asv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests examples benchmarks tools -name __pycache__ -prune -exec rm -rf {} +
