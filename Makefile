# The door for newcomers. Developers use hatch: `tools/hatch run ...`, or their own.
#
#   make test PYTHON=python3.11      another Python than the newest one found
#   make test ARGS="-k decoder"      arguments for pytest, or for the demo

.PHONY: demo test ci clean

demo:
	@tools/hatch run demo:run $(ARGS)

test:
	@tools/hatch run test $(ARGS)

ci:
	@.ci/run

clean:
	rm -rf .venv .cache dist .coverage .coverage.* .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
