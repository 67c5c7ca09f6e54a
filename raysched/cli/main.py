"""The `raysched` command: the list of its commands, and what becomes of an error.

Exit codes: 0 success, 1 internal or connection, 2 usage, 3 the run failed, 4 timeout,
5 cannot be placed, 6 not found; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from raysched.cli import (
    backfill,
    check,
    cluster,
    completion,
    demo,
    deploy,
    doctor,
    explain,
    history,
    jobs,
    logs,
    runs,
    slots,
    trigger,
)
from raysched.cli.grouped import Grouped
from raysched.cli.output import say, say_error
from raysched.errors import (
    InputError,
    JobError,
    NotFound,
    RayschedError,
    WaitTimeout,
)

_EPILOG = (
    "Results go to stdout, everything else to stderr; -o table|json|csv. "
    "Exit codes: 0 success, 1 internal or connection, 2 usage, 3 the run failed, "
    "4 timeout, 5 cannot be placed, 6 not found."
)

app = typer.Typer(
    name="raysched",
    cls=Grouped,
    help="Schedule data jobs on a Ray cluster, and read what became of them.",
    epilog=_EPILOG,
    rich_markup_mode=None,  # Rich's boxes would double the time that --help takes
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(help="The directory where everything durable lives. [env: RAYSCHED_HOME]"),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Take the options that stand before the command."""
    if home is not None:
        os.environ["RAYSCHED_HOME"] = str(home.expanduser().absolute())
    if version:
        from raysched import __version__

        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Some of them; all if left out.")
    ] = None,
) -> None:
    """Measure what raysched costs, against bare Ray.

    On a Ray of its own on this machine; exit 1 if a target is missed.
    """
    from raysched.bench import main as measure

    if not measure(names or ()):
        raise typer.Exit(1)


_COMMANDS: dict[str, Callable[..., None]] = {
    "up": cluster.up,
    "down": cluster.down,
    "status": cluster.status,
    "doctor": doctor.doctor,
    "check": check.check,
    "deploy": deploy.deploy,
    "delete": jobs.delete,
    "jobs": jobs.list_jobs,
    "job": jobs.show_job,
    "pause": jobs.pause,
    "resume": jobs.resume,
    "next": slots.next_slots,
    "cron": slots.cron,
    "trigger": trigger.trigger,
    "backfill": backfill.backfill,
    "runs": runs.list_runs,
    "run": runs.show_run,
    "logs": logs.logs,
    "decisions": runs.decisions,
    "explain": explain.explain,
    "history": history.history,
    "cancel": runs.cancel,
    "retry": runs.retry,
    "demo": demo.demo,
    "bench": bench,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(
            stream, "reconfigure"
        ):  # a name that a terminal cannot write is no reason to die
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = _tell_warning
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; an error is told, not raised."""

    def command() -> object:
        return app(list(arguments), prog_name="raysched", standalone_mode=False)

    try:
        completes = os.environ.get(completion.COMPLETE) == "complete_bash"
        code = completion.for_bash(command, os.environ) if completes else command()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has left, as `head` does. Python would complain once more while exiting.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except (KeyboardInterrupt, typer.Abort):
        say("interrupted.")
        return 130
    except Exception as error:
        if os.environ.get("RAYSCHED_DEBUG") == "1":
            raise
        say_error(_told(error))
        return exit_code(error)
    return code if isinstance(code, int) else 0


def _tell_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    *_: object,
    **__: object,
) -> None:
    """Tell of a warning, and where it comes from if that is a file of the user's."""
    ours = Path(filename).is_relative_to(Path(__file__).parents[1])
    say(f"warning: {message}" if ours else f"warning: {message} ({filename}:{lineno})")


def exit_code(error: Exception) -> int:
    """Return the exit code that tells an error's kind."""
    match error:
        case NotFound():
            return 6
        case InputError():
            return 2
        case JobError():
            return 3
        case WaitTimeout():
            return 4
    return 2 if _is_usage(error) else 1


def _told(error: Exception) -> RayschedError:
    if isinstance(error, RayschedError):
        return error
    if _is_usage(error):
        about: Any = error
        path = about.ctx.command_path if getattr(about, "ctx", None) else "raysched"
        what = about.format_message().replace("Value error, ", "")  # Pydantic's word, not ours
        return InputError(what, fix=f"see `{path} --help`.")
    return RayschedError(
        f"internal error: {type(error).__name__}: {error}",
        fix="set RAYSCHED_DEBUG=1 to see the traceback, and report it.",
    )


def _is_usage(error: Exception) -> bool:
    # By its look: Typer brings its own copy of click's classes from 0.26 on.
    return hasattr(error, "format_message") and hasattr(error, "exit_code")
