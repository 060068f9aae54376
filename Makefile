# iketcp: everything a fresh clone needs. `make` alone lists the targets.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.SUFFIXES:
.DEFAULT_GOAL := help
.PHONY: help bench demo test lint types coverage interop ci clean

help:
	@echo "iketcp: IKE and IPsec over TCP (RFC 9329)"
	@echo
	@echo "  make demo      a tunnel between two peers on this machine, told step by step"
	@echo "  make test      all tests"
	@echo "  make lint      style, names, imports, docstrings (ruff)"
	@echo "  make types     static types (mypy, strict)"
	@echo "  make coverage  lines and branches of the pure floors"
	@echo "  make interop   the same scenes with strongSwan on the other side (root)"
	@echo "  make bench     how fast it is, beside others on this machine (root, iperf3)"
	@echo "  make ci        what the continuous checks do: all of the above"
	@echo "  make clean     remove $(VENV) and everything generated"
	@echo
	@echo "PYTHON=… picks another Python (3.11 or later); $(VENV) is made when needed."
	@echo "pytest takes options from ARGS, as in: make test ARGS='-k stream'"

demo: $(VENV)/base.stamp
	@echo "==> iketcp demo $(ARGS)"
	@$(BIN)/iketcp demo $(ARGS)

# As many workers as processors; each takes tests from the others when it has none left.
PARALLEL := --numprocesses=auto --dist=worksteal

test: $(VENV)/test.stamp
	@echo "==> pytest $(ARGS)"
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

lint: $(VENV)/dev.stamp
	@echo "==> ruff check, ruff format --check"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@echo "lint: clean"

types: $(VENV)/dev.stamp
	@echo "==> mypy --strict"
	@$(BIN)/mypy

# The pure floors have to be covered by tests without sockets, devices or other tools.
WITH_IO := bench cli control demo interop net peer tunnel outer

coverage: $(VENV)/test.stamp
	@echo "==> pytest --cov, pure floors only"
	@$(BIN)/python -m pytest -q $(PARALLEL) -m "not slow" --cov --cov-report=term \
	  $(WITH_IO:%=--ignore-glob='tests/test_%*') $(ARGS)

# Needs root and iperf3; docs/performance.md names whom it can compare with.
bench: $(VENV)/base.stamp
	@echo "==> iketcp bench all $(ARGS)"
	@$(BIN)/iketcp bench all $(ARGS)

# strongSwan needs root here: network namespaces, TUN devices, its own sockets.
interop: $(VENV)/test.stamp
	@.ci/run packages
	@echo "==> pytest, against strongSwan"
	@$(BIN)/python -m pytest -q $(PARALLEL) -p interop_table $(ARGS) tests/test_interop_strongswan_*.py

ci:
	@.ci/run

clean:
	@echo "==> removing $(VENV), caches, build products"
	@rm -rf $(VENV) bench-results build dist .coverage .coverage.* .hypothesis
	@rm -rf .mypy_cache .pytest_cache .ruff_cache reference/iketcp.egg-info
	@find reference tests -name __pycache__ -type d -prune -exec rm -rf {} +

# One environment, three sizes: to run, to test, to develop. Made anew when setup.py
# changes, so that nothing stays behind that is no longer asked for.

$(VENV)/base.stamp: setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "iketcp needs Python 3.11 or later; '$(PYTHON)' is not. Try: make PYTHON=python3.12"; \
	  exit 1; }
	@echo "==> $(VENV): new environment with $$($(PYTHON) --version)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { \
	  rm -rf $(VENV); \
	  echo "No virtual environment could be made."; \
	  echo "On Debian and Ubuntu: apt-get install python3-venv"; \
	  exit 1; }
	@echo "==> $(VENV): installing iketcp"
	@$(PIP) install --editable . || { \
	  echo "iketcp could not be installed."; \
	  echo "python-pytun is compiled here: it needs a C compiler and Python's headers."; \
	  echo "On Debian and Ubuntu: apt-get install gcc python3-dev"; \
	  exit 1; }
	@touch $@

$(VENV)/test.stamp: $(VENV)/base.stamp
	@echo "==> $(VENV): installing what the tests need"
	@$(PIP) install --editable '.[test]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/test.stamp
	@echo "==> $(VENV): installing what the checks need"
	@$(PIP) install --editable '.[dev]'
	@touch $@
