# mensagod: two commands to begin with, `make serve` and `make test`. Nothing but a package index is needed.

VENV := .venv
PYTHON ?= $(shell for name in python3 python3.11 python3.12 python3.13 python3.14 python3.15; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
RUN := $(VENV)/bin/python -m
# Seen from here, so that twisted finds the plugins of the checkout.
INSTALL := $(VENV)/bin/pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat --editable

.PHONY: help serve test quick lint types coverage bench docs changelog sdist clean

help:
	@echo "make serve      a server on this machine, with a PostgreSQL of its own, until Ctrl-C"
	@echo "make test       the whole test suite, with a throw-away PostgreSQL"
	@echo "make quick      the tests that need neither sockets nor PostgreSQL"
	@echo "make lint       style; make types: types; make coverage: what the tests reach"
	@echo "make bench      figures of this machine"
	@echo "make docs       the documentation, into docs/_build/html; first the pages and the configuration that are generated"
	@echo "make changelog  what the next release would say is new; make sdist: the archive of a release"

serve: $(VENV)/serve
	@exec $(VENV)/bin/mensagod quickstart $(ARGS)

test: $(VENV)/test
	@exec $(RUN) twisted.trial -j2 tests

quick: $(VENV)/test
	@MENSAGOD_TEST_EXAMPLES=25 exec $(RUN) twisted.trial -j2 --reporter=text $(QUICK)

lint: $(VENV)/test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/test
	$(VENV)/bin/mypy

coverage: $(VENV)/test
	$(VENV)/bin/coverage erase
	$(VENV)/bin/coverage run -m twisted.trial tests
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report

bench: $(VENV)/test
	@exec $(RUN) bench

docs: $(VENV)/test
	$(RUN) mensagod.config.document
	$(RUN) mensagod.commands.reference
	$(RUN) sphinx --fresh-env --nitpicky --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "docs/_build/html/index.html"

changelog: $(VENV)/test
	@exec $(RUN) towncrier build --draft --version next

sdist: $(VENV)/test
	$(RUN) build --sdist

clean:
	rm -rf $(VENV) build dist docs/_build *.egg-info _trial_temp* .coverage .coverage.* .mypy_cache .ruff_cache .hypothesis

# What the quick suite leaves out crosses a socket or asks a real PostgreSQL.
QUICK := tests.wire tests.crypto tests.keycards tests.config tests.client tests.lifecycle tests.values tests.threads \
	tests.sessions tests.sharing tests.bench \
	$(addprefix tests.delivery.test_,away cleanup envelopes fake_queue labels reference retries tags working) \
	$(addprefix tests.commands.test_,audience fields reference registry sessions steps) \
	$(addprefix tests.server.test_,admission protocol proxy_header service transfers) \
	tests.organization.test_keyring $(addprefix tests.process.test_,logs signals) \
	$(addprefix tests.test_,docs layers secrets vectors)

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "mensagod needs Python 3.11 or newer: install it, or set PYTHON" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "python cannot make environments: install its venv module (Debian: python3-venv)" >&2; exit 1; }

# The stamps are made last, so that what was interrupted is done again.
$(VENV)/serve: setup.cfg setup.py pyproject.toml | $(VENV)/bin/python
	@echo "installing mensagod into $(VENV)"
	@$(INSTALL) '.[standalone]'
	@touch $@

$(VENV)/test: setup.cfg setup.py pyproject.toml | $(VENV)/bin/python
	@echo "installing mensagod and the tools of its tests into $(VENV)"
	@$(INSTALL) '.[standalone,dev]'
	@touch $@ $(VENV)/serve
