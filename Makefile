# Everything a developer or a CI machine does here. `make` alone lists it.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
WORKERS ?= 2
DAYS ?= 20
TESTS ?= tests
REAL ?= real and not kubernetes and not images
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SERVICES := api detector executor planner
PROJECTS := shared $(SERVICES:%=services/%)
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --annotation-style line --custom-compile-command "make constraints" --no-emit-package restow $(SERVICES:%=--no-emit-package restow-%)

.DEFAULT_GOAL := help
.PHONY: help install check format test test-real test-openstack test-kubernetes test-images lab lab-down demo simulate bench constraints clean

help: ## list what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-16s %s\n", $$1, $$2}'

install: $(STAMP) ## the five distributions and the tools, in .venv; every download is checked by its hash

$(STAMP): constraints/build.txt constraints/runtime.txt constraints/dev.txt $(PROJECTS:%=%/pyproject.toml)
	@test -n "$(PYTHON)" || { echo "missing: Python 3.11 or newer (Debian, Ubuntu: apt-get install python3 python3-venv), or name one: make PYTHON=/path/to/python3.11 install" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "too old: $(PYTHON) is not Python 3.11 or newer; name another: make PYTHON=/path/to/python3.11 install" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "missing: the venv module of $(PYTHON) (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "[1/5] a virtual environment in $(VENV), by $$($(PYTHON) --version)"; $(PYTHON) -m venv $(VENV); }
	@echo "[2/5] what builds the distributions"
	@$(PIP) install -q --require-hashes -r constraints/build.txt
	@echo "[3/5] libraries and tools: about 250 MB to fetch the first time, a minute or two"
	@$(PIP) install -q --require-hashes -r constraints/runtime.txt -r constraints/dev.txt
	@echo "[4/5] the five distributions, editable"
	@$(PIP) install -q --no-deps --no-build-isolation $(PROJECTS:%=-e ./%)
	@echo "[5/5] the planner's search, compiled: ten seconds"
	@$(BIN)/python -c "from restow_planner.solvers.descent import warm_up; warm_up()"
	@touch $@
	@echo "installed: $(BIN)/restow"

check: install ## format, lint, types, import layering
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## write the format and the harmless fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: install ## every test that needs only this machine
	@mkdir -p var
	$(BIN)/python -m pytest $(TESTS) -m "not real" -n $(WORKERS) --junitxml=var/test.xml

test-real: install ## tests on real Kafka, PostgreSQL and OpenStack, started and stopped by the tests; what is missing is skipped and named
	@mkdir -p var
	$(BIN)/python -m pytest $(TESTS) -m "$(REAL)" --timeout 900 --junitxml=var/test-real.xml

lab: ## a real OpenStack on this machine, 10 hosts in 2 zones, until `make lab-down`; prints how to use it
	$(PYTHON) tests/lab/openstack/lab.py up

lab-down: ## stop it; what it knows is kept
	$(PYTHON) tests/lab/openstack/lab.py down

test-openstack: install ## the tests on it alone: brought up, tested, taken down
	@mkdir -p var
	$(BIN)/python -m pytest $(TESTS) -m openstack --timeout 900 -s --junitxml=var/test-openstack.xml

test-kubernetes: install ## the chart on the cluster of KUBECONFIG, or on one started here (tests/lab/k8s/build.sh all, once)
	@mkdir -p var
	$(BIN)/python -m pytest $(TESTS) -m kubernetes --timeout 2400 -s --junitxml=var/test-kubernetes.xml

test-images: install ## every image built and run, and the compose file up and down, on the Docker engine of this machine or one started here
	@mkdir -p var
	$(BIN)/python -m pytest $(TESTS) -m images --timeout 2400 -s --junitxml=var/test-images.xml

demo: install ## the whole loop on a small simulated cloud: a hot host, a crash, a maintenance, a consolidation
	$(BIN)/restow demo

simulate: install ## seeded days of trouble on the simulated cloud; DAYS=20
	$(BIN)/restow simulate days --count $(DAYS) --jobs $(WORKERS)

bench: install ## how good and how fast the planner is; FAMILY=vmr2l BENCH=folder OUT=folder LIMIT=10 CHART=file.svg
	$(BIN)/python tests/bench/run.py $(FAMILY:%=--family %) $(BENCH:%=--bench %) $(OUT:%=--out %) $(LIMIT:%=--limit %) $(CHART:%=--chart %)
	$(if $(FAMILY),,$(BIN)/python tests/bench/reaction.py)

constraints: install ## pin anew after a change of dependencies; UPGRADE=--upgrade takes the newest
	$(COMPILE) $(UPGRADE) constraints/build.in -o constraints/build.txt
	printf './%s\n' $(PROJECTS) | $(COMPILE) $(UPGRADE) - -o constraints/runtime.txt > /dev/null
	$(COMPILE) $(UPGRADE) -c constraints/runtime.txt constraints/dev.in -o constraints/dev.txt > /dev/null
	@for s in $(SERVICES); do echo "constraints/$$s.txt"; \
	  printf './shared\n./services/%s\n' $$s | $(COMPILE) -c constraints/runtime.txt - -o constraints/$$s.txt > /dev/null || exit 1; done

clean: ## remove what was built; .venv too
	rm -rf $(VENV) var build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name '*.egg-info' -prune -exec rm -rf {} +
	find . -name __pycache__ -prune -exec rm -rf {} +
