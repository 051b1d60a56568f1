PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help setup demo cloud-demo ui smoke up test test-docker check format lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

setup: $(INSTALLED) ## Create .venv and install what the lock file names

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Installing into .venv (a minute or two) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## Run the main job on this machine and show what it made
	@$(BIN)/python -m flows.demo

ui: setup ## The dashboard, a worker and the deployments, on this machine
	@$(BIN)/python -m flows.ui

cloud-demo: setup ## The same job on S3, Postgres and Snowflake emulated on this machine, beside the embedded stack
	@$(BIN)/python -m tests.emulated

smoke: setup ## Try a registered stack for real, in a corner of its own: make smoke STACK=prod
	@$(BIN)/python -m flows.smoke $(STACK)

up: setup ## The stack of compose.yaml (needs Docker)
	@$(BIN)/python -m flows.up

test-docker: setup ## Run the tests that need a container engine
	@$(BIN)/python -m pytest tests/containers.py tests/composed.py

test: setup ## Run all tests, those of two files at once
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: setup ## Format, lint and type checks
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/sqlfmt --check --quiet dbt_project
	@ECOMMERCE_DUCKDB_PATH=:memory: $(BIN)/sqlfluff lint --config dbt_project/.sqlfluff --quiet dbt_project
	@ECOMMERCE_DUCKDB_PATH=:memory: $(BIN)/sqlfluff lint --config dbt_project/increments.sqlfluff --quiet dbt_project/models

format: setup ## Format the code and the models
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(BIN)/sqlfmt --quiet dbt_project

lock: setup ## Resolve the dependencies anew into the lock files (needs uv)
	@uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements.lock
	@uv pip compile pyproject.toml --extra cloud --extra dask --extra deploy --extra embedded \
	  --constraint requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --no-header --quiet --output-file requirements-runtime.lock

clean: ## Remove the environment and everything the embedded stack keeps
	rm -rf .venv .ecommerce
