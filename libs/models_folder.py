"""Where models are kept on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def models_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The user's cache for models: `$XDG_CACHE_HOME/tokenway/models`, or the same under `~/.cache`."""
    cache = Path(environment.get("XDG_CACHE_HOME", ""))
    # A relative path is to be ignored, says the XDG specification.
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "tokenway" / "models"
