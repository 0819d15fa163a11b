"""What the commands share: where the front door is, tables, JSON."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from restow.runtime.settings import default_data_dir
from restow_api.client import BAD_INPUT, DEFAULT_URL, Where, stop
from restow_api.numbers import number, percent

Url = Annotated[str, typer.Option("--url", envvar="RESTOW_URL", help="Where the front door is.")]
Data = Annotated[
    Path | None, typer.Option("--data", envvar="RESTOW_DATA_DIR", help="The data directory, for its admin.key.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON in place of a table.")]
Most = Annotated[int | None, typer.Option("--limit", min=1, help="How many at most.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the record.")]
URL = DEFAULT_URL


def where(url: str, data: Path | None) -> Where:
    """With no --data: where `restow up` keeps its things, then ./restow-data."""
    if data is not None:
        return Where(url, (data,))
    return Where(url, (default_data_dir(), Path("restow-data")))


def show_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A table as wide as the terminal; for a program (no terminal) as wide as it needs."""
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = list(rows)
    if not shown:
        typer.echo(empty)
        return
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in shown:
        drawn.add_row(*(Text(_text(value)) for value in row))
    Console(width=None if sys.stdout.isatty() else 240).print(drawn)


def _text(value: object) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return number(value)
        case list() | tuple():
            return ", ".join(str(one) for one in value) or "-"
        case _:
            return _printable(str(value))


def _printable(text: str) -> str:
    """Names come from elsewhere: no control character of theirs reaches the terminal."""
    return "".join(letter if letter.isprintable() else "·" for letter in text)


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Name and value, one pair a line; those that are not known are left out."""
    known = [(name, value) for name, value in pairs if value not in (None, "", [], {})]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        typer.echo(f"{name:<{width}}  {_text(value)}")


def moment(text: str | None) -> str:
    return "-" if text is None else text.partition(".")[0].replace("T", " ").removesuffix("Z") + "Z"


def read_file(file: str, *, what: str) -> bytes:
    """The content; `-` is standard input. Ends with a message if it cannot be read."""
    import sys

    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        stop(f"{what} {file}: {error.strerror}", BAD_INPUT)


def write_file(file: Path | None, content: bytes) -> None:
    """To a file, or to standard output."""
    if file is None:
        typer.echo(content.decode())
        return
    try:
        file.write_bytes(content)
    except OSError as error:
        stop(f"{file}: {error.strerror}", BAD_INPUT)


def share(part: float, whole: Any) -> str:
    return "-" if not whole else percent(part / whole)
