"""A command whose options are also read as Caffe's tools read theirs: `-f v`, `-f=v`, `--f=true`, `--nof`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from proto2torch.cli.gflags import FALSE, GLOG, GLOG_SWITCHES, TRUE


class CaffeTool(click.Command):
    """Turns gflags' spellings into click's; glog's flags are passed over, since messages go to stderr anyway."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(self._spelled(args)))

    def _spelled(self, args: Sequence[str]) -> Iterator[str]:
        known = {
            name.removeprefix("--"): param
            for param in self.params
            if isinstance(param, click.Option)
            for name in param.opts
            if name.startswith("--")
        }
        rest = iter(args)
        for argument in rest:
            if argument == "--":
                yield from (argument, *rest)
                return
            written, equals, value = argument.removeprefix("-").removeprefix("-").partition("=")
            option = known.get(written, known.get(written.removeprefix("no")))
            if not argument.startswith("-"):
                yield argument
            elif written in GLOG:
                if not equals and written not in GLOG_SWITCHES:
                    next(rest, None)
            elif option is None:
                yield argument
            elif not option.is_flag:
                yield f"--{written}{equals}{value}"
            elif self._is_on(written, written not in known, value.lower()):
                yield f"--{written.removeprefix('no') if written not in known else written}"

    @staticmethod
    def _is_on(name: str, negated: bool, value: str) -> bool:
        if value not in ("", *TRUE, *FALSE) or (negated and value):
            raise click.BadParameter(f"takes true or false. Received: {value!r}", param_hint=f"'--{name}'")
        return not negated and value not in FALSE
