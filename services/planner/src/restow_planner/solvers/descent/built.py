"""Compiled loops that came with an image, where the code itself cannot be written to: copied to where they can be.

numba keeps what it compiled only in folders that it may write to, and would compile anew on a read-only file system.
An image names this class in NUMBA_CACHE_LOCATOR_CLASSES.
"""

import shutil
from pathlib import Path

from numba.core.caching import UserWideCacheLocator


class BuiltIn(UserWideCacheLocator):
    """The user's own folder ($HOME/.cache), filled once from the `__pycache__` beside the code."""

    def ensure_cache_path(self) -> None:
        super().ensure_cache_path()  # type: ignore[no-untyped-call]
        folder = Path(self.get_cache_path())  # type: ignore[no-untyped-call]
        for suffix in (".nbc", ".nbi"):  # the index last: what it names is there then
            for built in (Path(self._py_file).parent / "__pycache__").glob(f"*{suffix}"):
                if not (folder / built.name).exists():
                    fresh = folder / f"{built.name}.new"
                    shutil.copyfile(built, fresh)
                    fresh.replace(folder / built.name)
