# GNU make 3.81 or later and a POSIX shell. `make` alone lists the targets.
#
# Every target makes .venv itself and installs into it what that target needs, no more. One stamp file a set of
# dependencies, each older than pyproject.toml whenever that changes.

PYTHON ?= python3
ARGS ?=

SHELL = /bin/sh
VENV = .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --no-input -q

# Nothing from outside the virtual environment: no user site, no `pip install --user` from somebody's pip.conf.
export PYTHONNOUSERSITE = 1
export PIP_USER = 0
# pyright does not look for a newer one of itself.
export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1
# With PYTHONDONTWRITEBYTECODE each worker process would compile asyncgraph anew.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

# Where PYTHON was not chosen, a python3 that is too old is passed over for a newer one beside it.
ifeq ($(origin PYTHON),file)
CANDIDATES = $(PYTHON) python3.14 python3.13 python3.12 python3.11
else
CANDIDATES = $(PYTHON)
endif

.DEFAULT_GOAL = help
.NOTPARALLEL:
.PHONY: help demo test test-dask test-ray lint types docs bench coverage clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.base ## run the demonstration (ARGS=... goes to it)
	@$(BIN)/python examples/demo.py $(ARGS)

# All tests are run by several processes at once, two of which take half the time of one on two cores. With ARGS it is
# one, for -x and --pdb to work, unless they say -n. "logical" counts two threads of a core as two, "auto" as one. A file
# stays in one process: what a document says later needs what it has said before.
SEVERAL = -n logical --maxprocesses 4 --dist loadfile
test: $(VENV)/.dev ## run all tests, documents included (ARGS=... goes to pytest)
	$(BIN)/python -m pytest $(or $(ARGS),$(SEVERAL))

test-dask: $(VENV)/.dev ## run Dask's own tests on asyncgraph, which takes hours (ARGS="delayed bag" for some)
	nice -n 10 $(BIN)/python -m tests.dask.suites $(ARGS)

test-ray: $(VENV)/.ray ## run the tests on Ray, which take minutes (ARGS=... goes to pytest)
	ASYNCGRAPH_TEST_RAY=1 $(BIN)/python -m pytest tests/ray -o faulthandler_timeout=300 $(ARGS)

lint: $(VENV)/.dev ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## check types with mypy and pyright
	$(BIN)/mypy asyncgraph $(wildcard tests/typing)
	$(BIN)/pyright

docs: $(VENV)/.dev ## run the examples of the documents and check their links
	$(BIN)/python -m pytest $(wildcard README.md docs) asyncgraph tests/test_documents.py $(ARGS)

bench: $(VENV)/.bench ## run the benchmarks (ARGS=... goes to them)
	$(BIN)/python -m tests.benchmarks $(ARGS)

coverage: $(VENV)/.dev ## measure coverage; the pure core must be covered whole by its own tests
	$(BIN)/python -m pytest tests/graph --cov=asyncgraph/_graph --cov-branch --cov-fail-under=100 --cov-report=term
	$(BIN)/python -m pytest tests --cov --cov-report=term $(ARGS)

clean: ## remove .venv and everything else that was made
	rm -rf $(VENV) build dist demo-results asyncgraph-demo .coverage .coverage.* htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.base: $(VENV)/.made pyproject.toml
	@echo "Installing asyncgraph into $(VENV)"
	@$(PIP) install -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml
	@echo "Installing asyncgraph and what its tests and checks need into $(VENV)"
	@$(PIP) install -e '.[dev]'
	@touch $(VENV)/.base $@

$(VENV)/.ray: $(VENV)/.dev
	@echo "Installing Ray into $(VENV)"
	@$(PIP) install -e '.[ray]'
	@touch $@

$(VENV)/.bench: $(VENV)/.made pyproject.toml
	@echo "Installing asyncgraph and what its benchmarks need into $(VENV)"
	@$(PIP) install -e '.[bench]'
	@touch $(VENV)/.base $@

# An environment that is already there and sound is used as it is; any other is made anew. What fails or is
# interrupted half way is removed.
SOUND = import sys, pip; sys.exit(sys.version_info < (3, 11))
RECENT = import sys; sys.exit(sys.version_info < (3, 11))

$(VENV)/.made:
	@if $(BIN)/python -c '$(SOUND)' >/dev/null 2>&1; then touch $@; exit 0; fi; \
	python=; \
	for name in $(CANDIDATES); do \
	    if "$$name" -c '$(RECENT)' >/dev/null 2>&1; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "asyncgraph needs Python 3.11 or later; looked for: $(CANDIDATES)." >&2; \
	    echo "Name one that is: make PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	    echo "$$python has no venv module. On Debian and Ubuntu: apt install python3-venv" >&2; \
	    exit 1; \
	fi; \
	trap 'rm -rf $(VENV); exit 130' HUP INT TERM; \
	rm -rf $(VENV); \
	if "$$python" -m venv $(VENV); then \
	    touch $@; \
	else \
	    rm -rf $(VENV); \
	    echo "$$python could not make a virtual environment in $(VENV); what it said is above." >&2; \
	    echo "On Debian and Ubuntu the usual remedy is: apt install python3-venv" >&2; \
	    exit 1; \
	fi
