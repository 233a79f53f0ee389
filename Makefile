# The door for newcomers. Developers use hatch: `tools/hatch run ...`, or their own.
#
#   make test PYTHON=python3.11      another Python than the newest one found
#   make test ARGS="-k decoder"      arguments for pytest, or for the demo

.PHONY: demo docs quick test trials wheels ci clean

demo:
	@tools/hatch run demo:run $(ARGS)

# The packages' tests, in two processes at once.
quick:
	@tools/hatch run quick $(ARGS)

test:
	@tools/hatch run test $(ARGS)

# What takes too long for each change; docs/trials.md has the last results.
trials:
	@tools/hatch --version
	@.venv/bin/python tools/trials.py $(ARGS)

# Wheels of all packages in dist/: plain ones for any Python, and with a C compiler at
# hand the codec compiled for this one. Each kind is installed and used from nothing.
wheels:
	@rm -rf dist
	@tools/hatch build --all dist/plain
	@.venv/bin/python tools/check_wheels.py dist/plain
	@PB_BUILD_MYPYC=1 tools/hatch build --all --target wheel dist/compiled
	@.venv/bin/python tools/check_wheels.py dist/compiled

# The documentation as a site, in .cache/site; a warning is an error.
docs:
	@tools/hatch run docs:build
	@echo "The site is in .cache/site: open .cache/site/index.html"

ci:
	@.ci/run

clean:
	rm -rf .venv .cache dist .coverage .coverage.* .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
