"""This module compiles the inner modules of this package for its wheel, if asked to.

What the environment variable PB_BUILD_MYPYC says:

    unset, 0    a plain wheel, for any Python (py3-none-any)
    1           a compiled one, for this Python and machine; without a C compiler,
                building fails
    auto        a compiled one where that is possible, else a plain one

An editable installation is plain in any case. The modules are named in pyproject.toml,
and the files in ``mypyc/`` are what the compiler reads in place of the modules of the
same names: a stub to take its types from, or a source to compile. The sources are in
the wheel as well: without the compiled modules, they are what runs.

Each compiled package has the same file, since each is built on its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_SETUP = """
import sys
from mypyc.build import mypycify
from setuptools import setup

package, *modules = sys.argv[3:]
del sys.argv[3:]
extensions = mypycify(modules, opt_level="3", debug_level="0", group_name=package)
setup(name=package, ext_modules=extensions, packages=[], py_modules=[])
"""

# The checker has had its say before. Here it only tells the compiler the types.
_MYPY = """
[mypy]
python_version = {}.{}
ignore_missing_imports = true
follow_imports = silent
warn_unused_ignores = false
"""


class MypycHook(BuildHookInterface[Any]):
    """Adds compiled modules to the wheel."""

    PLUGIN_NAME = "custom"
    _scratch: str | None = None

    def dependencies(self) -> list[str]:
        """Return what building takes besides hatchling."""
        if not _is_asked():
            return []
        siblings = [] if self._siblings() else self.config.get("built-upon", [])
        return [*self.config["compiler"], *siblings]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and tell the builder what to add."""
        if version == "editable" or not _is_asked():
            return
        self._scratch = tempfile.mkdtemp()
        scratch = Path(self._scratch)
        try:
            self._compile(scratch)
        except subprocess.CalledProcessError as error:
            self.app.display_error(error.output)
            if os.environ["PB_BUILD_MYPYC"] != "auto":
                raise
            self.app.display_warning("Nothing could be compiled: a plain wheel.")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        for pattern in ("*.so", "*.pyd"):
            for library in scratch.rglob(pattern):
                if "build" not in library.relative_to(scratch).parts:
                    name = library.relative_to(scratch).as_posix()
                    build_data["force_include"][str(library)] = name
        build_data["dependencies"] += self.config.get("compiled-dependencies", [])

    def finalize(
        self, version: str, build_data: dict[str, Any], artifact_path: str
    ) -> None:
        """Remove what was compiled, now that it is in the wheel."""
        if self._scratch is not None:
            shutil.rmtree(self._scratch)

    def _compile(self, scratch: Path) -> None:
        root = Path(self.root)
        package = self.metadata.core.name.replace("-", "_")
        shutil.copytree(root / "src" / package, scratch / package)
        for pattern in ("*.pyi", "*.py"):
            for other in (root / "mypyc").rglob(pattern):
                target = scratch / package / other.relative_to(root / "mypyc")
                shutil.copy(other, target)
        (scratch / "setup.py").write_text(_SETUP)
        (scratch / "mypy.ini").write_text(_MYPY.format(*sys.version_info[:2]))
        modules = [f"{package}/{name}.py" for name in self.config["modules"]]
        subprocess.run(
            [sys.executable, "setup.py", "build_ext", "--inplace", package, *modules],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=scratch,
            env={**os.environ, "MYPYPATH": os.pathsep.join(self._siblings())},
        )

    def _siblings(self) -> list[str]:
        """Return where the packages are, in a checkout, that this one is built upon."""
        names = [each.split(">")[0] for each in self.config.get("built-upon", [])]
        places = [Path(self.root).parent / name / "src" for name in names]
        return [str(place) for place in places if place.is_dir()]


def _is_asked() -> bool:
    return os.environ.get("PB_BUILD_MYPYC", "0") not in ("", "0")
