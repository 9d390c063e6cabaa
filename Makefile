# Two commands: `make demo` runs the platform on a sample (or INPUT=path[,path…]), `make test` tests it.
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
INPUT ?=
LINES ?= 100000

.PHONY: setup demo test dev lint lock

setup: .venv/ready dbt_project/target/manifest.json
	@$(BIN)/retail setup

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

dbt_project/target/manifest.json: .venv/ready $(shell find dbt_project -name '*.sql' -o -name '*.yml' -o -name '*.md' -o -name '*.csv' | grep -v /target/)
	$(BIN)/dbt parse --quiet --project-dir dbt_project --profiles-dir dbt_project

demo: setup
	$(BIN)/retail demo --lines $(LINES) --input "$(INPUT)"

test: setup lint
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

dev: setup
	$(BIN)/retail dev

lock:
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --quiet --output-file requirements.lock
