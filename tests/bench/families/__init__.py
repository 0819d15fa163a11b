"""The families of public instances, one module each.

A module has `instances(folder)`, which yields questions and tasks; for tasks also `solve(folder, name, limit_s)`,
which returns the answer. `folder` is the family's own, as its authors laid it out.
"""

from types import ModuleType

from bench.families import btrplace, migrationpaths, migsched, ordering, roadef2012, scale, vmr2l, watcher

FAMILIES: dict[str, ModuleType] = {
    "migrationpaths": migrationpaths,
    "ordering": ordering,
    "migsched": migsched,
    "vmr2l": vmr2l,
    "btrplace": btrplace,
    "roadef2012": roadef2012,
    "scale": scale,
    "watcher": watcher,
}
