"""Where the package's own files are."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# A wheel holds the configs and the sbatch scripts inside the package; in a checkout they lie beside it.
CONFIGS, SCRIPTS = (
    next((p for p in (PACKAGE / name, PACKAGE.parent / name) if p.is_dir()), PACKAGE / name)
    for name in ("configs", "slurm")
)
KEYS = PACKAGE / "tools" / "cli" / "keys.txt"  # every key, as --help lists it


def shipped_configs() -> list[str]:
    """Names of the shipped configs, those in folders with the folder's."""
    return sorted(path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.yaml"))
