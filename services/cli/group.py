"""The root of all commands: what there is, loaded when called, and how failures are told."""

import os
from importlib import import_module
from importlib.metadata import version

import click

from services.cli.failures import Failure, told

__all__ = ["lastword", "main"]

#: by name: the module, and the line that the overview shows
_COMMANDS = {
    "up": ("commands.up", "Start everything here, with Kafka and PostgreSQL if need be."),
    "demo": ("demo", "Play a provider outage of half an hour, in 90 seconds."),
    "send": ("commands.send", "Tell one user one thing."),
    "show": ("commands.show", "What became of a notification, step by step, and why."),
    "cancel": ("commands.cancel", "Cancel what is pending for a user and type."),
    "check": ("commands.check", "Find what is wrong with a catalogue."),
    "what-if": ("commands.what_if", "What another catalogue would have decided."),
    "topics": ("commands.topics", "Verify Kafka's topics, or create them."),
    "rebuild": ("commands.rebuild", "Compare the tracker's tables with the log, or mend them."),
    "run": ("commands.run", "Run one service in the foreground."),
    "sandbox": ("commands.sandbox", "Run the providers' stand-ins alone."),
}
_HELP = """\
Lastword tells users things, once, and can prove what became of each.

\b
New here? Two commands show the most of it:
  lastword up                    start everything on this machine
  lastword send login_code --user u1 --email u1@example.test --data code=123456

\b
Exit codes: 0 done, 1 try again or not found, 2 something has to be changed first.
Most commands take --json for programs. LASTWORD_LOG_LEVEL=debug shows where a failure came from.
"""


class _Lazy(click.Group):
    """Loads a command's module when the command is called, so that help is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"services.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(
    cls=_Lazy,
    help=_HELP,
    epilog="`lastword COMMAND --help` has examples.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(version("lastword-engine"), prog_name="lastword")
def lastword() -> None:
    pass


def main() -> None:
    """Run a command and exit; every failure is a sentence on stderr and a code."""
    try:
        lastword(prog_name="lastword")
    except Exception as error:
        failure = told(error)
        if os.environ.get("LASTWORD_LOG_LEVEL", "").lower() == "debug":
            raise
        _say(failure)
        raise SystemExit(failure.code) from None


def _say(failure: Failure) -> None:
    head, _, rest = failure.sentence.partition("\n")
    click.echo(f"{click.style('lastword:', fg='red', bold=True)} {head}", err=True)
    if rest:
        click.echo(rest, err=True)
