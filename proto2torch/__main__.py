"""`python -m proto2torch` is the command `proto2torch`."""

from __future__ import annotations

from proto2torch.cli import main

if __name__ == "__main__":
    main(prog_name="proto2torch")
