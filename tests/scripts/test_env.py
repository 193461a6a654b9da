"""scripts/_env: the environment is made once, installed once, and a machine that cannot make it is told why."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SYSTEM = "/usr/bin:/bin"


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone in a folder whose name has spaces, with the scripts and the metadata only."""
    root = tmp_path / "a clone's folder"
    shutil.copytree(ROOT / "scripts", root / "scripts")
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


@pytest.fixture
def installs(clone: Path) -> Path:
    """A .venv whose python notes each call of `pip install`; the file of the notes."""
    notes = clone / "installs"
    notes.touch()
    executable(
        clone / ".venv/bin/python",
        f'#!/bin/sh\ncase "$*" in\n  *"pip install"*) echo "$*" >>"{notes}" ;;\n  "-m pip"*) ;;\n'
        f'  *) exec "{sys.executable}" "$@" ;;\nesac\n',
    )
    return notes


def environment(clone: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Source _env as a script does, from another folder, and call `environment`."""
    script = executable(
        clone / "scripts/probe",
        '#!/usr/bin/env bash\nset -euo pipefail\nsource "$(dirname "${BASH_SOURCE[0]}")/_env"\nenvironment "$@"\n'
        'printf "%s\\n" "$PATH"\n',
    )
    return subprocess.run(
        [str(script), *words], capture_output=True, text=True, cwd="/", env={**os.environ, "PATH": SYSTEM, **variables}
    )


def test_installs_once(clone: Path, installs: Path) -> None:
    for _ in range(2):
        done = environment(clone)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split(":")[0] == f"{clone}/.venv/bin"
    (call,) = installs.read_text().splitlines()
    assert call.endswith(f"--editable {clone}")


def test_installs_again_when_the_metadata_changes(clone: Path, installs: Path) -> None:
    environment(clone)
    with open(clone / "pyproject.toml", "a") as metadata:
        metadata.write("# changed\n")
    environment(clone)
    assert len(installs.read_text().splitlines()) == 2


def test_the_tools_for_development_come_with_their_extra(clone: Path, installs: Path) -> None:
    environment(clone, "dev")
    environment(clone)
    (call,) = installs.read_text().splitlines()
    assert call.endswith(f"--editable {clone}[dev]")


def test_an_installation_that_failed_is_tried_again(clone: Path, installs: Path) -> None:
    working = (clone / ".venv/bin/python").read_text()
    executable(clone / ".venv/bin/python", working.replace(f'>>"{installs}"', f'>>"{installs}"; exit 1'))
    assert environment(clone).returncode != 0
    executable(clone / ".venv/bin/python", working)
    assert environment(clone).returncode == 0
    assert len(installs.read_text().splitlines()) == 2


def test_the_missing_package_is_named(clone: Path) -> None:
    python = executable(
        clone / "python3", f'#!/bin/sh\ncase "$*" in *ensurepip*) exit 1 ;; esac\nexec "{sys.executable}" "$@"\n'
    )
    done = environment(clone, PYTHON=str(python))
    assert done.returncode == 1
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"apt-get install python{version}-venv" in done.stderr
    assert not (clone / ".venv").exists()


def test_uv_makes_the_environment_where_it_is_there(clone: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    uv = executable(
        tmp_path / "bin/uv",
        f'#!/bin/sh\necho "$*" >>"{notes}"\nfor last; do :; done\n'
        f'[ "$1" = venv ] || exit 0\nmkdir -p "$last/bin"\n'
        f'printf \'#!/bin/sh\\ncase "$*" in "-m pip"*) exit 1 ;; esac\\nexec "{sys.executable}" "$@"\\n\''
        f' >"$last/bin/python"\nchmod +x "$last/bin/python"\n',
    )
    done = environment(clone, PATH=f"{uv.parent}:{SYSTEM}")
    assert done.returncode == 0, done.stderr
    made, installed = notes.read_text().splitlines()
    assert made.startswith("venv ") and made.endswith(f"{clone}/.venv")
    assert installed.startswith("pip install ") and installed.endswith(f"--editable {clone}")
