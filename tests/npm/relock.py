"""Resolve the npm packages anew; the lock file keeps names, versions and hashes, and nothing of where they are."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
LOCK = HERE / "package-lock.json"
DROPPED = ("funding", "license", "resolved")


def main() -> None:
    """Keeps the versions that stand in the lock file already."""
    subprocess.run(["npm", "install", "--package-lock-only", "--ignore-scripts", "--silent"], cwd=HERE, check=True)
    lock = json.loads(LOCK.read_text())
    lock["packages"] = {
        name: {key: value for key, value in package.items() if key not in DROPPED}
        for name, package in lock["packages"].items()
    }
    LOCK.write_text(json.dumps(lock, indent=2) + "\n")


if __name__ == "__main__":
    main()
