# Every command of this repository, defined once: people, commit hooks and CI all call these.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.SILENT:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
.NOTPARALLEL: # the tasks of one line depend on each other

# The environment of whoever calls must not leak into .venv. Without compiled files vLLM imports 9 s later,
# in each of its processes.
unexport CONDA_PREFIX PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH VIRTUAL_ENV

# Appended to the command of a task: make test ARGS="-k budget", make up ARGS="--config mesh.yaml".
ARGS ?=
DATA ?=

.PHONY: help
help: ## This list
	awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: model ## Start the mesh, ask it three questions, show receipts and a trace, stop it
	.venv/bin/tokenway demo $(ARGS)

.PHONY: up
up: model ## Start the mesh and keep it running (ARGS="--help" for more)
	exec .venv/bin/tokenway up $(ARGS)

.PHONY: test
test: model ## Run the tests (ARGS="-k cancel" for some of them)
	.venv/bin/pytest $(ARGS)

.PHONY: test-cluster
test-cluster: setup ## Run what is about Redis Cluster, the ledger's contract among it
	.venv/bin/pytest -m cluster tests/contract tests/property tests/unit/mesh $(ARGS)

.PHONY: test-chaos
test-chaos: setup ## Run the short forms of chaos-money, probe-money, chaos-cache and trace-truth
	.venv/bin/pytest -m chaos tests/chaos tests/truth $(ARGS)

.PHONY: test-ledger
test-ledger: setup ## Let the ledger and its model live through the same 12,000 steps, on Valkey, Redis 7.0 and a cluster
	HYPOTHESIS_PROFILE=long .venv/bin/pytest -m '' tests/property/test_ledger_machine.py $(ARGS)

.PHONY: test-isolation
test-isolation: setup ## Try 100,000 questions that differ from a cached one in one place: none may get its answer (1 minute)
	HYPOTHESIS_PROFILE=long .venv/bin/pytest tests/property/test_cache_isolation.py $(ARGS)

.PHONY: test-provider
test-provider: setup ## Test the engine openai on a real server of that API, in an environment that is thrown away
	deploy/build/provider.sh $(ARGS)

.PHONY: check
check: check-static test test-cluster test-chaos ## Everything that must hold before a change lands

.PHONY: check-static
check-static: setup ## The same without the tests: format, lint, types, imports, protos, generated files
	deploy/build/check.sh

.PHONY: fmt
fmt: setup ## Format Python and protos, and mend what lint can mend
	.venv/bin/ruff format --quiet .
	.venv/bin/ruff check --quiet --fix .
	.venv/bin/buf format --write

.PHONY: generate
generate: setup ## Write anew what is generated: libs/protogen and the schema of the configuration
	deploy/build/generate.sh
	.venv/bin/python deploy/build/config_schema.py >deploy/.tokenway.schema.json
	mv deploy/.tokenway.schema.json deploy/tokenway.schema.json

.PHONY: bench
bench: setup ## Measure, quickly
	.venv/bin/python -m tests.bench $(ARGS)

.PHONY: bench-guard
bench-guard: setup ## How well the guards find what they look for, beside two libraries, and what they cost
	deploy/build/bench_guard.sh $(ARGS)

.PHONY: bench-cache
bench-cache: model ## How right and how fast the cache is, beside its targets and GPTCache (DATA=FOLDER: other labelled pairs)
	DATA="$(DATA)" deploy/build/bench_cache.sh $(ARGS)

.PHONY: chaos-money
chaos-money: setup ## Kill and freeze the mesh under load, and count outside of it what was overspent (3 minutes)
	.venv/bin/python -m tests.chaos.money $(ARGS)

.PHONY: chaos-cache
chaos-cache: setup ## Kill and pause the cache, its leaders and its Redis under waves of identical questions (3 minutes)
	.venv/bin/python -m tests.chaos.cache $(ARGS)

.PHONY: probe-money
probe-money: setup ## Let two hundred clients ask at once for what a key has money for ten times
	.venv/bin/python -m tests.chaos.probe $(ARGS)

.PHONY: trace-truth
trace-truth: setup ## Ask 10,000 requests, kill processes, and judge every trace (some minutes)
	.venv/bin/python -m tests.truth $(ARGS)

.PHONY: images
images: setup ## Build the container images and run the mesh from them (root, buildah, debootstrap)
	.venv/bin/pytest -m images $(ARGS) tests/deploy

.PHONY: engine
engine:
	deploy/build/engine.sh

.PHONY: setup
setup: ## The environment in .venv, exactly as pinned
	deploy/build/setup.sh

.PHONY: model
model: engine setup ## The default model and the cache's encoder, in the user's cache
	deploy/build/model.sh

.PHONY: lock
lock: ## Write the pins anew (UPGRADE=1 takes the newest versions)
	deploy/build/lock.sh

.PHONY: clean
clean: ## Remove the environment and every cache in this folder (the model stays in the user's cache)
	rm -rf .venv .venv.lock .tools .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache dist deploy/clients/*/build deploy/clients/*/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
