"""The command group: a command's module is imported when it is called, and every error ends in one clear message."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from proto2torch.errors import Proto2TorchError, did_you_mean

INTERRUPTED = 130
AGAIN = " (run again with --debug)"


def _remember_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and isinstance(ctx.obj, dict):
        ctx.obj["debug"] = True


def debug_option() -> click.Option:
    """`--debug`, which stands before or after the command's name."""
    return click.Option(
        ["--debug"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_remember_debug,
        help="Show the traceback of an error.",
    )


class LazyGroup(click.Group):
    """A group of commands that are known by name and short help, and imported one at a time.

    `table` maps the name of a command to where it lives, `module:attribute`, and its short help.
    """

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        if all(p.name != "debug" for p in command.params):
            command.params.append(debug_option())
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.table and not args[0].startswith("-"):
            hint = did_you_mean(args[0], self.table)
            ctx.fail(f"there is no command {args[0]!r}" + (f"; {hint}" if hint else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in self.table.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [
            CompletionItem(name, help=short)
            for name, (_, short) in self.table.items()
            if name.startswith(incomplete) and not incomplete.startswith("-")
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


class Main(LazyGroup):
    """The outermost group: it turns what a command raises into a message on stderr and an exit status."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        state = extra.setdefault("obj", {"debug": False})
        own_process = args is None and standalone_mode
        if own_process:
            _terminate_as_interrupted()
        try:
            status = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
            sys.stdout.flush()
        except (Exception, KeyboardInterrupt) as error:
            if not standalone_mode:
                raise
            status = report(error, debug=state["debug"])
        if own_process and status == INTERRUPTED:
            _end(INTERRUPTED)
        if not standalone_mode:
            return status
        sys.exit(status if isinstance(status, int) else 0)


def _terminate_as_interrupted() -> None:
    """Let SIGTERM end a command as Ctrl-C does; a training has a better use for it, once it runs."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)


def _end(status: int) -> NoReturn:
    """End the process at once: threads of torch that are cut short do not survive the end of an interpreter."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def report(error: BaseException, *, debug: bool) -> int:
    """Say on stderr what went wrong; the exit status that it means."""
    if isinstance(error, BrokenPipeError):
        _drop_stdout()
        return 1
    if isinstance(error, KeyboardInterrupt) or (
        isinstance(error, click.Abort) and not isinstance(error.__cause__, EOFError)
    ):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    message, status = describe(error)
    if debug:
        traceback.print_exception(error)
        message = message.removesuffix(AGAIN)
    if isinstance(error, OSError):
        _drop_stdout()
    click.echo(message, err=True)
    return status


def describe(error: BaseException) -> tuple[str, int]:
    """The message of an error and the exit status that it means."""
    if isinstance(error, Proto2TorchError):
        return f"error: {error}", error.exit_status
    if isinstance(error, click.ClickException):
        ctx = getattr(error, "ctx", None)
        hint = f"\n  {ctx.command_path} --help says what there is" if ctx else ""
        return f"error: {error.format_message()}{hint}", error.exit_code
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"error: out of memory. {_one_line(error)}".rstrip(), 1
    if isinstance(error, OSError) and error.strerror:
        what = f"{error.filename}: " if error.filename else ""
        return f"error: {what}{error.strerror.lower()}", 1
    return f"internal error: {type(error).__name__}: {_one_line(error)}{AGAIN}", 1


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _drop_stdout() -> None:
    """Nobody takes what is left in the buffer: keep the interpreter from trying again on its way out."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError):
        pass


def refuse(message: str, hint: str | None = None) -> NoReturn:
    """End the command with a usage error."""
    raise click.UsageError(message + (f"\n  {hint}" if hint else ""), click.get_current_context())
