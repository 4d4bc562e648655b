"""Everything in manifests/ that can be applied by itself, and combinations for tests."""

from pathlib import Path

MANIFESTS = Path(__file__).parents[2] / "manifests"
COMBINED = Path(__file__).parent / "combined"

INSTALLATIONS = (
    MANIFESTS / "base",
    *sorted(path.parent for path in MANIFESTS.glob("overlays/*/kustomization.yaml")),
    *sorted(path.parent for path in COMBINED.glob("*/kustomization.yaml")),
)
"""Folders, each of which installs a controller."""
SAMPLES = MANIFESTS / "samples"
ALL = (*INSTALLATIONS, SAMPLES)


def name_of(folder: Path) -> str:
    """For test names."""
    return folder.name
