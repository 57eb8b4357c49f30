# Xenfold: every target does all of its own set-up from a fresh checkout. `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
ESTATE ?= example
PLAYBOOK := $(BIN)/ansible-playbook
export PATH := $(CURDIR)/$(BIN):$(PATH)
export ANSIBLE_FORCE_COLOR ?= 0
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help demo audit lab lab-down test test-long lint unit scenarios lab-test lab-soak bench bench-data clean lab-packages

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/run.stamp: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { test "$$(id -u)" = 0 && apt-get -q -y install python3-venv; } \
	  || { echo "python3-venv is missing: install it as root with 'apt-get install python3-venv'"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/dev.stamp: .venv/run.stamp requirements-dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-dev.txt
	@touch $@

.vendor/stamp: .venv/run.stamp requirements.yml tools/fetch_collections.py
	$(BIN)/python tools/fetch_collections.py
	@mkdir -p .vendor && touch $@

demo: .venv/run.stamp ## plan the example estate (no root): build/example/plan.md, plan.json, report.html
	$(PLAYBOOK) -i inventories/example playbooks/plan.yml

audit: .venv/run.stamp ## compare the hosts with the estate, change nothing: make audit ESTATE=example (docs/hosts.md)
	@$(BIN)/python tools/audit.py -i inventories/$(ESTATE)

lab-packages:
	@missing=$$(for p in $$(grep -v '^#' lab/packages.txt); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  test "$$(id -u)" = 0 || { echo "the lab needs packages; as root: apt-get install" $$missing; exit 1; }; \
	  apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $$missing; \
	fi

lab: lab-packages .vendor/stamp ## boot two Xen hosts in QEMU and run site.yml on them (root, Debian)
	$(BIN)/python -m lab up --hosts 2
	$(PLAYBOOK) -i inventories/lab playbooks/site.yml
	@echo "The lab runs: $(BIN)/python -m lab ssh xen01 xl list"

lab-down: ## end every lab of this checkout and free all they hold
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m lab down --all; else $(PYTHON) -m lab down --all; fi

test: lint unit scenarios ## lint, unit and integration tests, scenarios without a VM

lint: .venv/dev.stamp .vendor/stamp
	$(BIN)/ruff check .
	MYPYPATH=collections $(BIN)/mypy plugins/module_utils plugins/action plugins/filter plugins/inventory plugins/plugin_utils lab
	$(BIN)/yamllint -s .
	$(BIN)/ansible-lint -q
	$(BIN)/antsibull-changelog lint
	$(BIN)/antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck .

unit: .venv/dev.stamp .vendor/stamp
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not long"

test-long: .venv/dev.stamp .vendor/stamp ## integration tests that take longer than make test may
	$(BIN)/python -m pytest -n auto --dist worksteal -m long tests/integration

scenarios: .venv/dev.stamp .vendor/stamp
	$(BIN)/molecule test -s default

lab-test: lab-packages .venv/dev.stamp .vendor/stamp ## the scenarios on real Xen hosts in QEMU (root, Debian, an hour)
	$(BIN)/python -m pytest -s tests/lab

lab-soak: lab-packages .venv/dev.stamp .vendor/stamp test-long ## the long and repeated ones, hours; one part: PART=storage
	XENFOLD_SOAK=10 $(BIN)/python -m pytest -s tests/lab $(if $(PART),-k "$(PART)")

bench-data:
	@test -d "$(BENCH)" || { echo "make bench: BENCH: value '$(BENCH)', allowed the folder of the data (docs/benchmarks.md): make bench BENCH=/path/to/data"; exit 2; }

bench: bench-data .venv/dev.stamp .vendor/stamp ## measure the planner on public data: make bench BENCH=/path/to/data
	$(BIN)/python tests/benchmarks/bars.py "$(BENCH)"

clean: ## remove what the targets made, but the lab's cache
	rm -rf .venv .vendor build .ansible .mypy_cache .pytest_cache .ruff_cache .hypothesis
