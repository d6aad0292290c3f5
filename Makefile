# `make` sets up and runs the main job; `make test` sets up and runs the tests; `make help` lists the rest.
.DEFAULT_GOAL := all
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
PYTHON ?= python3
# More for Snakemake, say: make ARGS="--config seeds=[1,2]"
ARGS ?=

VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
export MPLBACKEND := Agg
SNAKEMAKE := snakemake --cores $(CORES) $(ARGS)

.PHONY: all full report test lint format lock clean distclean help setup

all: $(STAMP)  ## set up, then run the main job on the embedded data (minutes, no download)
	$(SNAKEMAKE) all

full: $(STAMP)  ## the real thing: official data, config/full.yaml (an hour or more)
	$(SNAKEMAKE) all --configfile config/full.yaml

report: all  ## write Snakemake's report of the main job to results/snakemake-report.html
	snakemake --report results/snakemake-report.html $(ARGS)

test: $(STAMP)  ## set up, then run every test and check
	pytest -n $(CORES) --dist worksteal

lint: $(STAMP)  ## check style: ruff, snakefmt, snakemake --lint
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	snakemake --lint

format: $(STAMP)  ## put Python and Snakemake code into the project's style
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow

setup: $(STAMP)  ## build the environment only

$(STAMP): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; run: make PYTHON=/path/to/newer/python3"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	command -v uv > /dev/null || python -m pip install --quiet uv
	uv pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements.txt
	@touch $@

lock: $(STAMP)  ## resolve pyproject.toml anew into requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--upgrade --group dev pyproject.toml --output-file requirements.txt

clean:  ## delete results (data and the environment stay)
	find results -mindepth 1 -not -name README.md -delete
	rm -rf .snakemake .pytest_cache .ruff_cache

distclean: clean  ## delete results, data and the environment
	rm -rf resources $(VENV)

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
