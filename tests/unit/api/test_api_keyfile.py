"""Keys from a file: what stands in it is valid, what is taken out of it ends and never comes back."""

from pathlib import Path

import pytest
from sqlalchemy import select

from restow.commands.main import run
from restow.database.engine import Database
from restow.database.tables import Row
from restow.errors import BadInputError
from restow_api import keys
from restow_api.keyfile import KeyFile, parse_keys
from restow_api.keys import Role
from restow_api.store import AuditRow
from support.front_door import StillClock


@pytest.fixture
async def database(tmp_path: Path):
    made = Database(f"sqlite:///{tmp_path}/t.db")
    async with made.engine.begin() as connection:
        await connection.run_sync(Row.metadata.create_all)
    yield made
    await made.close()


@pytest.fixture
def file(tmp_path: Path, database: Database) -> KeyFile:
    return KeyFile(tmp_path / "keys", database, StillClock())


def a_key() -> str:
    return "rk_{}_{}".format(*keys.new_key())


def test_the_command_prints_a_line_that_the_file_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "generate", "ci", "--role", "operator"]) == 0
    (given,) = parse_keys(capsys.readouterr().out)
    assert (given.name, given.role) == ("ci", Role.OPERATOR)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ann admin", "line 1"),
        ("# a comment\n\nann admin rk_short", "line 3"),
        (f"ann king {a_key()}", "line 1: role"),
        (f"policy admin {a_key()}", "line 1: name"),
        ("{0}\n{0}".format(f"ann admin {a_key()}"), "each key once"),
    ],
    ids=["no key", "short key", "no such role", "a name of ours", "twice"],  # the keys are others each time
)
def test_a_wrong_line_is_named_and_no_key_is_shown(text: str, told: str) -> None:
    with pytest.raises(BadInputError) as raised:
        parse_keys(text)
    assert told in str(raised.value)
    assert not any(word[16:] in str(raised.value) for word in text.split() if word.startswith("rk_") and word[16:])


async def test_a_rotation_has_both_keys_valid_until_the_old_one_is_taken_out(file: KeyFile, database: Database) -> None:
    old, new = a_key(), a_key()
    for text, valid in (
        (f"ann admin {old}\n", {old}),
        (f"ann admin {old}\nann admin {new}\n", {old, new}),
        (f"ann admin {new}\n", {new}),
        (f"ann admin {new}\nann admin {old}\n", {new}),  # what has ended stays ended
    ):
        file.file.write_text(text)
        await file.look()
        for key in (old, new):
            who = await keys.principal_of_key(database, key)
            assert (who is not None) == (key in valid), text
    async with database.reading() as session:
        noted = (await session.execute(select(AuditRow.action).order_by(AuditRow.seq))).scalars().all()
    assert noted == ["key.create", "key.create", "key.revoke"]


async def test_a_key_that_a_person_revoked_is_not_brought_back_by_the_file(file: KeyFile, database: Database) -> None:
    key = a_key()
    file.file.write_text(f"ann operator {key}\n")
    await file.look()
    async with database.writing() as transaction:
        await keys.revoke_key(transaction, StillClock(), key="ann", by="eve")
    file.seen = None  # as another process, that starts now
    await file.look()
    assert await keys.principal_of_key(database, key) is None


async def test_keys_of_people_are_left_alone(file: KeyFile, database: Database) -> None:
    async with database.writing() as transaction:
        _, key = await keys.make_key(transaction, StillClock(), name="bob", role="viewer", by="ann")
    file.file.write_text("")
    await file.look()
    assert await keys.principal_of_key(database, key) is not None
