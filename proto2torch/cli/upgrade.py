"""`proto2torch upgrade`: an old prototxt or .caffemodel in the newest format."""

from __future__ import annotations

import click

from proto2torch.cli.group import refuse
from proto2torch.cli.options import FILE, emit, say


@click.command(short_help="A net or a solver of any of Caffe's formats in the newest.")
@click.argument("file", type=FILE)
@click.argument("target", required=False, metavar="[OUT]", type=FILE)
@click.option("-o", "--output", type=FILE, help="Where to write it; a text without it goes to stdout.")
def upgrade(file: str, target: str | None, output: str | None) -> None:
    """Print FILE, a net or a solver, in Caffe's newest format; a binary net, with its weights, is written to -o.

    As Caffe's upgrade_net_proto_text, upgrade_net_proto_binary and upgrade_solver_proto_text, whose two arguments it
    takes too.

    \b
    Example:
      proto2torch upgrade old.prototxt -o new.prototxt
      proto2torch upgrade old.caffemodel -o new.caffemodel
    """
    from proto2torch.files import atomic
    from proto2torch.prototxt import binary, text
    from proto2torch.prototxt import upgrade as upgrades
    from proto2torch.prototxt.kind import is_solver
    from proto2torch.prototxt.read import read_net, read_solver

    output = output or target
    if is_solver(file):
        new: bytes | str = text.dump(read_solver(file).message)
    elif binary.is_binary(text.load(file)):
        if output is None:
            refuse(f"{file} is binary: give a file to write it to, -o new.caffemodel")
        new = upgrades.message(read_net(file, weights=True)).SerializeToString()
    else:
        definition = read_net(file)
        for note in definition.notes:
            say(note)
        new = text.dump(upgrades.message(definition))
    if output is None:
        emit(str(new))
        return
    with atomic(output) as temporary:
        temporary.write_bytes(new if isinstance(new, bytes) else new.encode())
    say(f"{output}: written")
