# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

HOSTS ?= 3
# Two tests at a time, each with a lab of its own.
BESIDE := -n 2 --dist worksteal
SHELL := /bin/bash
.DEFAULT_GOAL := help
# Compiled once, not at each of the hundreds of runs that tests make of ansible-playbook.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/.cache/pycache
# The checkout's own tools come first, and /usr/bin before what else a user's shell has put in front.
export PATH := $(CURDIR)/.venv/bin:/usr/sbin:/usr/bin:/sbin:/bin:$(PATH)

.PHONY: help demo readme test soak lint format build bench lock lab-up lab-down clean

help:  ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo:  ## three real hosts on this machine, six servers, and the fleet as a table (root)
	@tools/bootstrap --lab
	@tests/demo

readme:  ## every command of README.md, in its order, on the demo's hosts (root; after make demo)
	@tools/bootstrap --lab
	@python -m tests.tutorial.readme

test:  ## every test that CI runs (root: real hosts in the lab)
	@tools/bootstrap --lab
	pytest -m "not soak" $(BESIDE) --durations 60 --durations-min 5

soak:  ## the long ones: fault runs, fuzzing; SEED=... repeats one, KILLS=all kills at every call (root)
	@tools/bootstrap --lab --bench
	pytest -m soak $(BESIDE)

lint:  ## ruff, mypy, ansible-lint, ansible-test sanity, antsibull, shellcheck
	@tools/bootstrap
	@tools/lint

format:  ## ruff's formatter and safe fixes
	@tools/bootstrap
	ruff check --fix -q; ruff format -q

build:  ## the collection's artifact, in dist/, the same to the last bit each time
	@tools/bootstrap
	@tools/build dist

bench:  ## measured against community.libvirt, plain virsh and Nova's scheduler (root)
	@tools/bootstrap --lab --bench
	@tests/bench/run

lock:  ## resolve pyproject.toml's groups into tools/requirements.lock
	@{ sed -n '1,/^$$/p' tools/requirements.lock; uv pip compile -q --universal --python-version 3.11 --no-annotate \
	  --no-header --upgrade --group controller --group dev; } >.cache/lock && mv .cache/lock tools/requirements.lock

lab-up:  ## start the lab; HOSTS=3 (root)
	@tools/bootstrap --lab
	tests/lab/lab up --hosts $(HOSTS)

lab-down:  ## stop the lab and leave nothing behind (root)
	tests/lab/lab down

clean:  ## what tools left in the checkout, .venv too
	rm -rf .venv .cache .ansible .mypy_cache .pytest_cache .ruff_cache .hypothesis dist collection/tests/output
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
