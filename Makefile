# The verbs of the project, the same for people and for CI. They need Python 3.11 or newer, git and make.
#   PYTHON=…   the Python to make .venv with
#   ARGS=…     passed on to pytest or to the demo

.DEFAULT_GOAL := help
SHELL := /bin/sh
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
# Many tests wait for a process or a server: twice as many workers as there are cores, at most 8.
WORKERS := $(shell w=$$(($(CORES) * 2)); test $$w -le 8 || w=8; echo $$w)
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PYTHONS := $(if $(PYTHON),"$(PYTHON)",python3.13 python3.12 python3.11 python3 python)

# Finds a Python that is new enough and lets it bring .venv up to date; quick when there is nothing to do.
define ready
@for p in $(PYTHONS); do \
  if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
    exec "$$p" tools/install.py $(1); \
  fi; \
done; \
echo 'sdl needs Python 3.11 or newer; none found among: $(PYTHONS). Name yours: make PYTHON=/path/to/python' >&2; exit 1
endef

.PHONY: help demo test test-slow check format docs docs-site dist release bench golden install clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile
	@sed -n 's/^#   /  /p' Makefile

demo:  ## installs what is needed and runs a campaign on the simulated instrument
	$(call ready)
	@$(BIN)/sdl run configs/quickstart.yaml $(ARGS)

test:  ## installs what is needed and runs the tests, but for those that take over three seconds
	$(call ready,--dev)
	@$(BIN)/python -m pytest -n $(WORKERS) -m "not slow" $(ARGS)

test-slow:  ## runs the tests that take over three seconds: kills, browsers, coverage of the statistics
	$(call ready,--dev)
	@$(BIN)/python -m pytest -n $(WORKERS) -m slow $(ARGS)

check:  ## lint, layout, types and layers
	$(call ready,--dev)
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy
	@$(BIN)/lint-imports --no-logo

format:  ## sorts imports and lays the code out
	$(call ready,--dev)
	@$(BIN)/python -m ruff check --fix-only .
	@$(BIN)/python -m ruff format .

docs:  ## writes the schema and the tables of keys and commands into docs/
	$(call ready,--dev)
	@$(BIN)/python tools/docs.py $(ARGS)

docs-site:  ## builds the documentation as a site that works offline, into build/site; dead links fail
	$(call ready,--dev)
	@$(BIN)/python tools/notebooks.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict $(ARGS)
	@echo build/site/index.html

dist:  ## builds wheel and sdist into dist/, and tries the wheel in an empty environment
	$(call ready,--dev)
	@$(BIN)/python tools/dist.py $(ARGS)

release:  ## VERSION=0.2.0: writes the version into changelog and citation files; then commit and tag
	$(call ready,--dev)
	@$(BIN)/python tools/release.py $(VERSION)

bench:  ## every table of the solvers in one report; ARGS="--only peers --sets 10 --peers" for a part of it
	$(call ready,--dev)
	@$(BIN)/python benchmarks/bench.py $(ARGS)

golden:  ## writes the golden runs anew, after a change that is meant to change decisions
	$(call ready,--dev)
	@$(BIN)/python tools/golden.py $(ARGS)

install:  ## .venv with the project and everything for its development
	$(call ready,--dev)

clean:  ## removes .venv and all caches; records in runs/ stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis catboost_info build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
