# What a maintainer of the template does here. `make` alone lists it.

.DEFAULT_GOAL := help
.PHONY: help install lock bake demo test long coverage mutants integration bench bench-compare bench-stack lint fix

# Answers for the bakes below, as cookiecutter takes them: make demo ANSWERS="project_slug=my-lake".
ANSWERS ?=
# Arguments for pytest.
ARGS ?=
WORKERS ?= auto

VENV := .venv
BIN := $(VENV)/bin
INSTALLED = { pwd; cat requirements-dev.lock; }
# What they are to download and take on the disk, in MB on Linux.
TOOLS_MB := 67 220
# How packages are installed is decided here: of the variables that steer pip and uv, only those count that say where
# packages come from and how to reach it. PIP_USER or UV_SYSTEM_PYTHON, say, would put them somewhere else.
PACKAGE_SOURCES := $(foreach tool,PIP UV,$(addprefix $(tool)_,INDEX INDEX_URL EXTRA_INDEX_URL DEFAULT_INDEX INDEX_STRATEGY FIND_LINKS \
	NO_INDEX OFFLINE TRUSTED_HOST INSECURE_HOST ALLOW_INSECURE_HOST CERT CLIENT_CERT NATIVE_TLS SYSTEM_CERTS PROXY \
	KEYRING_PROVIDER CACHE_DIR NO_CACHE NO_CACHE_DIR TIMEOUT DEFAULT_TIMEOUT HTTP_TIMEOUT RETRIES HTTP_RETRIES CONFIG_FILE \
	LINK_MODE PYTHON_DOWNLOADS PYTHON_INSTALL_DIR PYTHON_INSTALL_MIRROR CONCURRENT_DOWNLOADS))
unexport $(filter-out $(PACKAGE_SOURCES),$(filter PIP_% UV_% PYTHONHOME PYTHONPATH,$(.VARIABLES)))
# Also where pip's own file says otherwise.
export PIP_USER := 0
# The bakes install with the uv of this environment.
export PATH := $(CURDIR)/$(BIN):$(PATH)

# Bakes into build/$(1) from an export of the tracked files, over what is there: .env and data stay.
bake = $(BIN)/python -m tests.baking --output build/$(1) $(ANSWERS)

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-12s %s\n", $$1, $$2 }'

install: ## Make .venv with the template's tools, where it is not up to date
	@$(INSTALLED) | cmp -s - $(VENV)/installed || { \
	    sh '{{cookiecutter.project_slug}}/deploy/install.sh' "the template's tools" requirements-dev.lock $(TOOLS_MB) && \
	    $(INSTALLED) > $(VENV)/installed; }

# A bake takes the files that git tracks, so a fault of git is reported before anything is downloaded.
.PHONY: files
files:
	@[ ! -e .git ] || { command -v git >/dev/null || { echo "error: There is no git here. A bake takes the files that git" \
	    "tracks in this clone. Nothing was downloaded. Install git, or unpack an archive of the template." >&2; exit 1; }; \
	    said=$$(git ls-files 2>&1 >/dev/null) || { echo "error: git can't list the files of this clone, which a bake takes." \
	    "Nothing was downloaded. git says: $$said" >&2; exit 1; }; }

lock: files install ## Make all locks again (UPGRADE=--upgrade takes newer releases)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url \
	    --custom-compile-command "make lock" $(UPGRADE) --group dev pyproject.toml -o requirements-dev.lock >/dev/null
	project=$$($(call bake,lock)) && $(MAKE) -C "$$project" lock && cd "$$project" && \
	    cp requirements.lock requirements-runtime.lock '$(CURDIR)/{{cookiecutter.project_slug}}/' && \
	    cp tests/integration/others.lock '$(CURDIR)/{{cookiecutter.project_slug}}/tests/integration/' && \
	    cp deploy/superset/requirements.lock '$(CURDIR)/{{cookiecutter.project_slug}}/deploy/superset/' && \
    cp docs/site.lock '$(CURDIR)/{{cookiecutter.project_slug}}/docs/' && \
    cp tests/mutants/requirements.lock '$(CURDIR)/{{cookiecutter.project_slug}}/tests/mutants/'

bake: files install ## Bake to build/demo (ANSWERS="project_slug=my-lake target=trino")
	@$(call bake,demo)

demo: files install ## Bake, install, load two months, build, report (DATASET=, MONTHS=, TLC_SOURCE=)
	@project=$$($(call bake,demo)) || exit; source="$(TLC_SOURCE)"; \
	[ ! -d "$$source" ] || source=$$(cd "$$source" && pwd); \
	$(MAKE) --no-print-directory -C "$$project" demo TLC_SOURCE="$$source"

test: files install ## All that needs no Docker: the template's tests, then those of a bake in it (ARGS= for pytest: the template's tests alone)
	$(BIN)/python -m pytest -n $(WORKERS) $(or $(ARGS),--dist loadgroup)
	@[ -n "$(ARGS)" ] || { project=$$($(call bake,tests)) && $(MAKE) --no-print-directory -C "$$project" test; }

long: files install ## The tests that take minutes: an installation by pip, both READMEs in containers, and those at length in a baked project
	LAKEHOUSE_TEST_LONG=1 $(BIN)/python -m pytest tests/test_lock.py tests/test_walk.py
	@project=$$($(call bake,long)) && $(MAKE) --no-print-directory -C "$$project" long

coverage: files install ## The branches of a baked project's code that its tests take (WITH_STACK=1: with the stack's suites)
	@project=$$($(call bake,tests)) && $(MAKE) --no-print-directory -C "$$project" coverage

mutants: files install ## Small changes of a baked project's code that its tests should notice (after make coverage; SAMPLE=, SEED=, FILES=)
	@project=$$($(call bake,tests)) && $(MAKE) --no-print-directory -C "$$project" mutants

integration: files install ## The stack's suites, in a baked project
	@project=$$($(call bake,tests)) && $(MAKE) --no-print-directory -C "$$project" integration

bench: files install ## The benchmarks, in a baked project
	@project=$$($(call bake,demo)) && $(MAKE) --no-print-directory -C "$$project" bench

bench-compare: files install ## The benchmarks in a baked project, against the figures of the last release
	@project=$$($(call bake,demo)) && $(MAKE) --no-print-directory -C "$$project" bench-compare

bench-stack: files install ## What the real services cost, in a baked project (needs Docker)
	@project=$$($(call bake,demo)) && $(MAKE) --no-print-directory -C "$$project" bench-stack

lint: files install ## ruff, mypy, zizmor, shellcheck and a check of the words here, then every linter of a baked project in it
	$(BIN)/ruff check hooks tests
	$(BIN)/ruff format --check hooks tests
	$(BIN)/mypy
	$(BIN)/python -m tests.words
	$(BIN)/zizmor --offline --quiet .github
	[ "$$(uname -m)" = aarch64 ] || $(BIN)/shellcheck .ci/run
	@project=$$($(call bake,tests)) && $(MAKE) --no-print-directory -C "$$project" lint

fix: files install ## Repair what make lint can repair, here and in the project's files
	$(BIN)/ruff check --fix hooks tests
	$(BIN)/ruff format hooks tests
	@project=$$($(call bake,tests)) && ruff="$(CURDIR)/$(BIN)/ruff" && cd '{{cookiecutter.project_slug}}' && \
	    $$ruff check --no-cache --fix --config "$$project/pyproject.toml" src tests benchmarks deploy docs && \
	    $$ruff format --no-cache --config "$$project/pyproject.toml" src tests benchmarks deploy docs
