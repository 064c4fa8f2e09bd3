"""A command with examples below its options, printed as they stand."""

from collections.abc import Callable
from textwrap import dedent

import click

__all__ = ["command"]


class _WithExamples(click.Command):
    examples = ""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for line in dedent(self.examples).strip().splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def command(examples: str) -> Callable[[Callable[..., None]], click.Command]:
    """Like ``click.command``; the docstring is the help."""

    def decorate(function: Callable[..., None]) -> click.Command:
        made = click.command(cls=_WithExamples)(function)
        made.examples = examples
        return made

    return decorate
