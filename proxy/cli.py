"""The command `understudy`. What a command does is in commands.py; only what it needs is imported."""

from __future__ import annotations

import argparse
import signal
import sys
from importlib.metadata import version
from typing import Any

from . import commands


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="understudy", description="A sidecar reverse proxy that lets a new model rehearse on live traffic."
    )
    top.add_argument("--version", action="version", version=f"understudy {version('understudy')}")
    every = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = every.add_parser("run", help="serve until SIGTERM")
    validate = every.add_parser("validate", help="say every mistake and warning of a configuration")
    for command in (run, validate):
        command.add_argument("-c", "--config", required=True, metavar="FILE")
    run.set_defaults(do=commands.run)
    validate.set_defaults(do=commands.validate)

    _add_explain(every)

    diff = every.add_parser("diff", help="say what changes between two files; exit 0 nothing, 1 something, 2 invalid")
    diff.add_argument("old", metavar="OLD")
    diff.add_argument("new", metavar="NEW")
    diff.add_argument("--json", action="store_true")
    diff.set_defaults(do=commands.diff)

    status = every.add_parser("status", help="what happens now; exit 0 healthy, 1 with warnings, 2 unreachable")
    status.add_argument("-c", "--config", metavar="FILE", help="ask at the admin address of this file")
    _add_admin(status)
    status.add_argument("--json", action="store_true")
    which = status.add_mutually_exclusive_group()
    which.add_argument("--watch", action="store_true", help="again every two seconds")
    which.add_argument(
        "--from",
        dest="sources",
        nargs="+",
        default=[],
        metavar="FILE|URL",
        help="the comparisons of many programs added up: answers of GET /compare, or where to ask for them",
    )
    status.set_defaults(do=commands.status)

    for name, text in (("reload", "read the configuration file again"), ("drain", "finish what is in flight and end")):
        command = every.add_parser(name, help=text)
        command.add_argument("-c", "--config", metavar="FILE", help="ask at the admin address of this file")
        _add_admin(command)
        command.set_defaults(do=getattr(commands, name))
    return top


def _add_explain(every: Any) -> None:
    explain = every.add_parser("explain", help="say what would become of a request, and why")
    source = explain.add_mutually_exclusive_group(required=True)
    source.add_argument("-c", "--config", metavar="FILE", help="by this file")
    source.add_argument("--running", action="store_true", help="by what the running program serves now")
    _add_admin(explain)
    explain.add_argument("method", metavar="METHOD")
    explain.add_argument("target", metavar="TARGET", help="/path?query")
    explain.add_argument("-H", "--header", action="append", default=[], metavar="'NAME: VALUE'")
    body = explain.add_mutually_exclusive_group()
    body.add_argument("-d", "--data", metavar="TEXT", help="the body; only its size counts")
    body.add_argument("--body-size", default="0", metavar="SIZE", help="of a body, such as 512B or 8MiB")
    explain.add_argument("--client", default="127.0.0.1", metavar="ADDRESS", help="the peer's address, or unix")
    explain.add_argument("--trusted", action="store_true", help="the peer is trusted, whatever the listener says")
    explain.add_argument("--listener", default="", metavar="NAME", help="where it arrives; absent: at the first one")
    explain.add_argument("--request-id", default="", metavar="ID", help="what mirrors sample by; absent: a new one")
    explain.add_argument("--json", action="store_true")
    explain.set_defaults(do=commands.explain)


def _add_admin(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--admin",
        metavar="URL",
        help="http://host:port or unix:/path of the admin API; else $UNDERSTUDY_ADMIN, else http://127.0.0.1:7081",
    )


def main() -> None:
    """The console script."""
    options = parser().parse_args()
    try:
        sys.exit(options.do(options))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
