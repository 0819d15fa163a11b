import stat
from pathlib import Path

import pytest

from restow.database.engine import Database
from restow.database.tables import Row
from restow.errors import BadInputError, NotFoundError
from restow_api import keys
from restow_api.keys import Role
from support.front_door import StillClock


@pytest.fixture
async def database(tmp_path: Path):
    made = Database(f"sqlite:///{tmp_path}/t.db")
    async with made.engine.begin() as connection:
        await connection.run_sync(Row.metadata.create_all)
    yield made
    await made.close()


async def make(database: Database, name: str = "ann", role: str = "viewer") -> str:
    async with database.writing() as transaction:
        return (await keys.make_key(transaction, StillClock(), name=name, role=role, by="test"))[1]


async def test_a_key_opens_the_door_and_is_not_kept(database: Database, tmp_path: Path):
    key = await make(database)
    principal = await keys.principal_of_key(database, key)
    assert (principal.name, principal.role) == ("ann", Role.VIEWER)
    secret = key.split("_", 2)[2].encode()
    assert len(secret) == 43
    assert all(secret not in file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize("spoil", [lambda k: k[:-1],
                                   lambda k: k[:-1] + ("A" if k[-1] != "A" else "B"), lambda k: k.upper(),
                                   lambda k: "", lambda k: "rk_000000000000_" + k.split("_", 2)[2]])  # fmt: skip
async def test_nothing_but_the_key_opens_the_door(database: Database, spoil):
    key = await make(database)
    assert await keys.principal_of_key(database, spoil(key)) is None


async def test_a_revoked_key_and_its_sessions_end_at_once(database: Database):
    clock = StillClock()
    key = await make(database)
    principal = await keys.principal_of_key(database, key)
    async with database.writing() as transaction:
        secret = await keys.open_session(transaction, clock, principal, kept_s=60)
    assert await keys.principal_of_session(database, clock, secret) == principal
    async with database.writing() as transaction:
        await keys.revoke_key(transaction, clock, key="ann", by="test")
    assert await keys.principal_of_key(database, key) is None
    assert await keys.principal_of_session(database, clock, secret) is None
    with pytest.raises(NotFoundError):
        async with database.writing() as transaction:
            await keys.revoke_key(transaction, clock, key="ann", by="test")


@pytest.mark.parametrize(("name", "role"), [("", "viewer"), ("a b", "viewer"),
                                            ("policy", "viewer"), ("x" * 65, "admin"),
                                            ("ann\n", "admin"), ("ok", "root")])  # fmt: skip
async def test_bad_names_and_roles_are_refused(database: Database, name: str, role: str):
    with pytest.raises(BadInputError):
        await make(database, name, role)


async def test_two_valid_keys_never_share_a_name(database: Database):
    await make(database)
    with pytest.raises(BadInputError, match="no other valid key"):
        await make(database)


async def test_the_first_start_leaves_one_private_admin_key(database: Database, tmp_path: Path):
    folder = tmp_path / "data"
    await keys.first_start(database, StillClock(), folder, lambda: "id")
    file = folder / "admin.key"
    key = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (await keys.principal_of_key(database, key)).role is Role.ADMIN
    await keys.first_start(database, StillClock(), folder, lambda: "id")
    assert file.read_text().strip() == key
    assert len(await keys.list_keys(database)) == 1


def test_roles_cover_what_is_before_them():
    assert [[a.covers(b) for b in Role] for a in Role] == [
        [True, False, False, False], [True, True, False, False], [True, True, True, False], [True, True, True, True],
    ]  # fmt: skip
