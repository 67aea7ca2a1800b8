# Every target is one command of xtask (see xtask/src/main.rs); `make` alone lists them.
XTASK = cargo run --quiet --locked -p xtask --

.DEFAULT_GOAL := help
.PHONY: help up down status logs clean-data demo refusals bench test test-kubernetes quick golden check conformance k8s-dev-secrets

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

up: ## install what is missing, build, start the suite, wait until it is ready
	@$(XTASK) up

down: ## stop what `make up` started, and nothing else
	@$(XTASK) down

status: ## which parts run and whether they are ready
	@$(XTASK) status

logs: ## follow the logs (PARTS="gantryd postgres" for some)
	@$(XTASK) logs $(PARTS)

clean-data: ## delete the suite's data; asks first (CONFIRM=yes for scripts)
	@$(XTASK) clean-data

demo: ## the main job against the running suite
	@$(XTASK) demo $(ARGS)

refusals: ## every operation of the running suite, asked wrongly
	@$(XTASK) refusals

bench: ## our figures against their anchors, into target/bench/*.json
	@$(XTASK) bench $(ARGS)

test: ## every test; what CI runs
	@$(XTASK) test

test-kubernetes: ## the live suite against the cluster of GANTRY_TEST_KUBECONFIG, with the image GANTRY_TEST_IMAGE
	@$(XTASK) test-kubernetes

quick: ## unit and service tests only
	@$(XTASK) test --quick

golden: ## rewrite golden files from the code
	@$(XTASK) golden

check: ## formatting, lints, rooms
	@$(XTASK) check

conformance: ## write docs/conformance.md from the last test run
	@$(XTASK) conformance

k8s-dev-secrets: ## draw passwords for k8s/overlays/dev
	@$(XTASK) k8s-dev-secrets
