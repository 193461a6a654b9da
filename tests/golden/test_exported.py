"""The same net gives the same bytes, in every process."""

from __future__ import annotations

import os
import subprocess
import sys

from .zoo import CASES, ROOT, present, prototxt_of

DIGESTS = """
import hashlib, sys
from proto2torch.codegen.export import export
from proto2torch.errors import Proto2TorchError
from proto2torch.prototxt.read import read_net

for path in sys.stdin.read().splitlines():
    for fold in (True, False):
        try:
            text = export(read_net(path), lambda layer, phase: [], fold=fold).text
        except Proto2TorchError as error:
            text = str(error)
        print(path, fold, hashlib.sha256(text.encode()).hexdigest())
"""


def digests(paths: list[str], seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", DIGESTS],
        input="\n".join(paths),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )
    return done.stdout


@present
def test_the_same_net_gives_the_same_bytes_in_every_process() -> None:
    chosen = [str(path) for path in map(prototxt_of, CASES) if path.is_file()]
    one = digests(chosen, "1")
    assert len(one.splitlines()) == 2 * len(chosen)
    assert one == digests(chosen, "2")
