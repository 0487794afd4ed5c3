"""The wheel: what users install holds what they import."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.clients.examples import CLIENTS


def test_the_wheel_holds_the_client_beside_the_messages(tmp_path: Path) -> None:
    repository = CLIENTS.parents[1]
    subprocess.run(
        (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)),
        cwd=repository,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {"tokenway/client/client.py", "tokenway/router/v1/router_pb2.py", "libs/rpc/status.py"} <= held
    assert {"tokenway/py.typed", "libs/py.typed"} <= held, "without them a user's type checker sees nothing"
    assert "tokenway/__init__.py" not in held, "a namespace: its parts lie side by side"
    top_levels = {name.partition("/")[0] for name in held if ".dist-info" not in name}
    assert top_levels == {"services", "libs", "tokenway"}
