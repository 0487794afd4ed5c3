# Every command of this repository, defined once: people, commit hooks and CI all call these.

.PHONY: setup
setup: ## The environment in .venv, exactly as pinned
	@deploy/build/setup.sh
