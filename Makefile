# Everything a developer runs. `make` alone lists it.

BIN := .venv/bin
INSTALLED := .venv/.installed
PYTEST := $(BIN)/python -m pytest
# In the order in which they are begun: the long files first, so that no process is left with one when the others are done.
TESTS := tests/fault tests/acceptance tests/integration tests/unit
# Processes that share the test files: most tests wait for servers. Those that are marked alone come after them, two at a time.
WORKERS ?= 3

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test check lint formatting types imports native format bench soak dist clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: $(INSTALLED)-dev $(INSTALLED)-native ## make .venv with all extras, install what the tests need of the system
	@.ci/system

demo: $(INSTALLED)-demo ## legacy database -> events -> broker -> function, on embedded parts, in about a minute
	$(BIN)/liberate demo

# Compiled first: where PYTHONDONTWRITEBYTECODE is set, as in many images, each of a thousand commands would do it anew.
test: setup ## unit, integration, acceptance and fault tests, on real servers
	@$(BIN)/python -m compileall -q liberator
	$(PYTEST) $(TESTS) -m "not soak and not alone" -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=10
	$(PYTEST) tests/fault -m "alone and not soak" -n 2 --dist loadfile --durations=10

check: lint formatting types imports native ## what pre-commit and CI check: ruff, mypy, import-linter; rustfmt, clippy, cargo test

lint: $(INSTALLED)-dev
	$(BIN)/ruff check .

formatting: $(INSTALLED)-dev
	$(BIN)/ruff format --check .

types: $(INSTALLED)-dev
	$(BIN)/mypy

imports: $(INSTALLED)-dev
	$(BIN)/lint-imports

native: ## the Rust part alone: rustfmt, clippy, tests; where there is no cargo, nothing
	@.ci/native check

format: $(INSTALLED)-dev ## mend what can be mended by machine
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## speed, CPU and memory beside the limits in the same run: about half an hour
	$(BIN)/python -m tests.benchmark
	$(BIN)/python -m tests.benchmark.query

soak: setup ## the long numbers: hours, not minutes
	LIBERATOR_SOAK=1 LIBERATOR_TYPE_VALUES=5000 HYPOTHESIS_PROFILE=soak $(PYTEST) $(TESTS) -m "" --timeout=0 --durations=10

dist: $(INSTALLED)-dev ## build the wheel and the source archive; where there is cargo, those of liberator-native too
	$(BIN)/python -m build
	@.ci/native dist

clean: ## remove all that make has made here, .venv included
	rm -rf .venv build dist native/target .liberator .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installed again only when the project file changes; dev holds all that the demo needs.
$(INSTALLED)-demo: pyproject.toml .ci/venv
	@.ci/venv demo
	@touch $@

# Left out where there is no cargo, and tried again the next time.
$(INSTALLED)-native: $(INSTALLED)-dev $(wildcard native/*.* native/src/*.rs native/src/*/*.rs)
	@.ci/native build && touch $@ || true

$(INSTALLED)-dev: pyproject.toml .ci/venv
	@.ci/venv fast,demo,test,dev
	@touch $(INSTALLED)-demo $@
