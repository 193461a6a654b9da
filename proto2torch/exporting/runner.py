"""What the fresh process of the self-check runs: an exported file, on its own.

`python -P runner.py FOLDER CLASS PHASE THREADS ALONE` imports FOLDER/model.py, loads state.safetensors into CLASS, runs
it on the tensors of inputs.safetensors and writes outputs.safetensors; both count their tensors from 0. With ALONE
nothing of proto2torch can be imported.
"""

from __future__ import annotations

import os
import sys
from typing import Any


class Refuse:
    """A finder that lets nobody import proto2torch."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "proto2torch":
            raise ImportError(f"an exported file stands alone, and this one imports {name}")


def main(folder: str, name: str, phase: str, threads: str, alone: str) -> None:
    if int(alone):
        sys.meta_path.insert(0, Refuse())
    import torch
    from safetensors.torch import load_file, save_file

    torch.set_num_threads(int(threads))
    file = os.path.join(folder, "model.py")
    namespace: dict[str, Any] = {"__name__": "model", "__file__": file}
    with open(file, encoding="utf-8") as text:
        exec(compile(text.read(), file, "exec"), namespace)
    model = namespace[name]()
    model.load_state_dict(load_file(os.path.join(folder, "state.safetensors")))
    model.train(phase == "TRAIN")
    given = load_file(os.path.join(folder, "inputs.safetensors"))
    torch.manual_seed(0)
    with torch.no_grad():
        result = model(*[given[str(i)] for i in range(len(given))])
    values = [result] if isinstance(result, torch.Tensor) else result.values()
    outputs = {str(i): v.contiguous().clone() for i, v in enumerate(values)}
    save_file(outputs, os.path.join(folder, "outputs.safetensors"))


if __name__ == "__main__":
    main(*sys.argv[1:])
