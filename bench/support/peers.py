"""What benchmarks with peers from the Python package index share: a peer's environment."""

import subprocess
import sys

from processes import Failed


def environment(folder, packages, python):
    """The Python of a virtual environment in `folder` that has `packages`, made by `python` when it is
    not there or has others."""
    own, stamp, wanted = folder / "bin/python", folder / "installed", "\n".join(packages)
    if stamp.exists() and stamp.read_text() == wanted:
        return own
    print(f"installing peers into {folder} ...", file=sys.stderr)
    for command in ([python, "-m", "venv", folder],
                    [own, "-m", "pip", "install", "--quiet", "--no-input",
                     "--disable-pip-version-check", *packages]):
        if subprocess.run(command, check=False).returncode != 0:
            raise Failed("the peers could not be installed: pip's own words are above")
    stamp.write_text(wanted)
    return own


def is_newer(made, *sources):
    """Whether a file is there and not older than what it is made from."""
    return made.exists() and all(made.stat().st_mtime >= path.stat().st_mtime for path in sources)


def run(*command):
    if subprocess.run(command, check=False).returncode != 0:
        raise Failed(f"{' '.join(map(str, command[:3]))} failed; its own words are above")
