"""What the environment says wins over `.env`, in Dagster's own commands too.

`dagster dev`, `dg dev` and `dg launch` read the `.env` of the project and put it over the environment, before any code
of the project runs; no setting of theirs changes that. So the environment of the project has a file, lakehouse.pth,
that imports this module whenever its Python starts (deploy/hatch_build.py puts it there). It must therefore be quick,
and depend on nothing.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec
from typing import Any

READER = "dagster._core.secrets.env_file"


class _Patcher:
    """Finds Dagster's reader of `.env` like any other module, and patches it once it is loaded."""

    def find_spec(self, name: str, path: Any = None, _target: Any = None) -> ModuleSpec | None:
        """The module's own spec, loading it as ever; None for all others."""
        if name != READER:
            return None
        sys.meta_path.remove(self)
        spec = next((found for finder in sys.meta_path if (found := finder.find_spec(name, path))), None)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                load(module)
                _patch(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _patch(module: Any) -> None:
    read = module.get_env_var_dict

    def get_env_var_dict(base_dir: str) -> dict[str, str]:
        """What `.env` says of variables that the environment does not have, or has empty."""
        return {name: value for name, value in read(base_dir).items() if not os.environ.get(name)}

    module.get_env_var_dict = get_env_var_dict


def patch_dagster() -> None:
    """Make Dagster's reader leave alone what the environment says. Once is enough."""
    if READER not in sys.modules and not any(isinstance(finder, _Patcher) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Patcher())


patch_dagster()
