"""The `restow` command: finds its sub-commands, turns errors into exit codes. Heavy things load where they are used.

A service adds its own by an entry point in group `restow.commands`: `register(app)`.
"""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points

import typer
from typer.exceptions import TyperException

from restow.commands import care, doctor, running
from restow.errors import BadInputError, RestowError, TransientError

DONE, FAILED, BAD_INPUT, AWAY, INTERRUPTED = 0, 1, 2, 5, 130
COMMANDS_GROUP = "restow.commands"


def application() -> typer.Typer:
    """All sub-commands that are installed."""
    app = typer.Typer(
        name="restow",
        help="Restow keeps an OpenStack cloud healthy and well arranged.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    running.register(app)
    care.register(app)
    doctor.register(app)
    for point in sorted(entry_points(group=COMMANDS_GROUP), key=lambda point: point.name):
        try:
            point.load()(app)
        except ImportError as error:  # what else is installed still works
            complain(f"the commands of {point.name} are not to be had: {error}")
    return app


def run(arguments: Sequence[str]) -> int:
    """Carry the command out; its exit code."""
    try:
        code = application()(list(arguments), prog_name="restow", standalone_mode=False)
        sys.stdout.flush()
    except TyperException as error:
        show = getattr(error, "show", None)  # shows the usage as well
        if show is None:
            complain(error.format_message())
        else:
            show()
        return BAD_INPUT
    except typer.Exit as error:
        return error.exit_code
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            return _nobody_reads()
        raise
    except BadInputError as error:
        for line in error.errors or (error.what,):
            complain(f"{error.what}: {line}" if error.errors else str(line))
        return BAD_INPUT
    except TransientError as error:
        complain(str(error))
        return AWAY
    except RestowError as error:
        complain(str(error))
        return FAILED
    except BrokenPipeError:
        return _nobody_reads()
    except OSError as error:
        _nobody_reads()
        complain(f"{error.filename or 'standard output'}: {error.strerror or error}")
        return FAILED
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    return code if isinstance(code, int) else DONE


def _nobody_reads() -> int:
    """The reader of our output has gone: nothing is wrong, and nothing more is to be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def complain(line: str) -> None:
    sys.stderr.write(f"restow: {line}\n")


def main() -> None:
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
