SHELL := bash
.DEFAULT_GOAL := help
# Named after all that an install depends on, its place included; bootstrap.sh leaves no other
STAMP := .venv/.ready-$(shell { cat requirements.lock pyproject.toml scripts/bootstrap.sh; pwd; } | cksum | cut -d' ' -f1)
BIN := .venv/bin
# Without bytecode each of a hundred processes compiles all that changed since the install, and each tester all tests
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -n 4 --dist loadscope --no-loadscope-reorder
.PHONY: help demo up test coverage lint format lock

help: ## List what make can do
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(STAMP) ## Trade two presets on a paper market; ARGS="--keep" leaves it running
	@$(BIN)/tradewright demo $(ARGS)

up: $(STAMP) ## Run the whole system in real time, on fixed ports, until Ctrl-C
	@$(BIN)/tradewright up $(ARGS)

test: $(STAMP) ## Run the whole test suite; ARGS="tests/unit -k size" narrows it
	@$(PYTEST) $(ARGS)

coverage: $(STAMP) ## Run the whole test suite, and list what it leaves out; takes a third longer
	@$(PYTEST) --cov --cov-report=term:skip-covered

lint: $(STAMP) ## ruff, mypy, import contracts, schema freshness
	@$(BIN)/ruff format --check -q . && $(BIN)/ruff check -q .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/tradewright schema --check

format: $(STAMP) ## Format and fix what can be fixed
	@$(BIN)/ruff format -q . && $(BIN)/ruff check -q --fix .

lock: $(STAMP) ## Renew requirements.lock from pyproject.toml
	@$(BIN)/uv lock -q && $(BIN)/uv export -q --frozen --no-emit-project --no-header --no-annotate -o requirements.lock

$(STAMP):
	@scripts/bootstrap.sh $@
