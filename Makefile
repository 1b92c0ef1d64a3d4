# Everything happens in a virtual environment of its own; nothing needs to be installed by hand but
# Python >= 3.11, a C++ compiler and make.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := build/demo
ENGINE ?= 4x32
TORCH  ?= 2.13.0
RESULTS := docs/results
SITE    := build/site
RELEASE := build/release
BOARDS  := $(basename $(notdir $(wildcard constraints/*.toml)))

.DEFAULT_GOAL := help
.PHONY: help demo test torch test-all soak soak-native soak-cluster soak-sweep soak-board first-hour prove mutate coverage lint docs results repeat-results repeat-results-rtl bench boards release clean

help: ## what can be made
	@grep -E '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

$(VENV)/stamp: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "cannot make a virtual environment: install Python >= 3.11 with venv (Debian: apt install python3-venv)" >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

demo: $(VENV)/stamp ## train digits on simulated RTL and on the golden machine, compare, report
	@rm -rf $(DEMO)
	$(BIN)/dither train digits --device rtl --engine $(ENGINE) --out $(DEMO)/rtl
	$(BIN)/dither train digits --device golden --engine $(ENGINE) --out $(DEMO)/golden
	$(BIN)/dither compare $(DEMO)/rtl $(DEMO)/golden --plot $(DEMO)/compare.png
	@echo "report: $(DEMO)/rtl/report.html"

test: $(VENV)/stamp lint ## all tests that take seconds or few minutes
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow'

torch: $(VENV)/stamp ## install PyTorch, so that the tests of what needs it run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==$(TORCH)

test-all: $(VENV)/stamp lint ## every test, the slow ones too
	$(BIN)/python -m pytest -n 2 --dist worksteal

soak: $(VENV)/stamp ## a thousand random programs and descriptors for each engine, golden against RTL
	DITHER_EXAMPLES=1000 $(BIN)/python -m pytest -q tests/system/test_differential.py

soak-native: $(VENV)/stamp ## a hundred thousand random programs, golden against native machine (an hour; goes on after Ctrl-C)
	$(BIN)/python -m tests.soak.native

soak-cluster: $(VENV)/stamp ## 200 workers of shared runs killed at random instants, then 40 of MNIST's: the same bits (half an hour)
	$(BIN)/python -m tests.soak.cluster
	$(BIN)/python -m tests.soak.cluster --task mnist --kills 40

soak-sweep: $(VENV)/stamp ## a sweep of 225 trials, its workers and scheduler killed: the same table (half an hour)
	$(BIN)/python -m tests.soak.sweep

soak-board: $(VENV)/stamp ## 200 steps of MNIST on a simulated board with its memory chip, golden against pins (hours; goes on after Ctrl-C)
	$(BIN)/python -m tests.soak.store_board

first-hour: $(VENV)/stamp ## every command of README and tutorials as printed, with empty caches, timed
	$(BIN)/python -m tests.soak.first_hour

prove: $(VENV)/stamp ## prove components for all inputs, and make the page about it
	$(BIN)/python -m tests.proofs

mutate: $(VENV)/stamp ## score benches by random faults in their components, and make the page about it (hours; goes on after Ctrl-C)
	$(BIN)/python -m tests.mutation

coverage: $(VENV)/stamp ## list the states of the machine that benches meet, and make the page about it
	$(BIN)/python -m tests.coverage

lint: $(VENV)/stamp ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/docs-stamp: $(VENV)/stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

docs: $(VENV)/docs-stamp ## regenerate the pages that derive from data, and build the site of all of them
	$(BIN)/dither docs
	$(BIN)/python -m sphinx -W --keep-going --quiet -d build/doctrees -b html docs $(SITE)
	@echo "site: $(SITE)/index.html"

results: $(VENV)/stamp ## make the page of recorded results again from its records
	$(BIN)/dither results $(RESULTS) --yardsticks sw/dither/report/yardsticks.json

repeat-results: $(VENV)/stamp ## repeat the first steps of every recorded result on the golden machine (MNIST: see DITHER_DATA)
	$(BIN)/dither repeat $(RESULTS)/*/

repeat-results-rtl: $(VENV)/stamp ## the same on the simulated gateware: one step each, minutes
	$(BIN)/dither repeat $(RESULTS)/*/ --device rtl --steps 1

bench: $(VENV)/stamp ## utilisation and speed, as ratios within one run
	$(BIN)/dither bench

boards: $(BOARDS:%=board-%) ## make every board's bitstream (80 minutes of a processor; -j2 helps)

release: $(BOARDS:%=board-%) docs ## wheel, docs and bitstreams with digests, in build/release; BOARDS="a b" selects
	@rm -rf $(RELEASE) && mkdir -p $(RELEASE)
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(RELEASE) .
	tar -C $(dir $(SITE)) -czf $(RELEASE)/docs.tar.gz $(notdir $(SITE))
	$(BIN)/dither release $(BOARDS:%=build/%) --out $(RELEASE)

board-%: $(VENV)/stamp ## make one board's bitstream and check its budgets
	$(BIN)/dither build --board $*

clean: ## remove the environment and everything built
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache
