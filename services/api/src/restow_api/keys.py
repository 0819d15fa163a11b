"""API keys: made once, kept hashed, found by their id, compared in constant time.

A key is `rk_<id>_<secret>`. The secret has 256 random bits, so one round of SHA-256 keeps it safe
at rest: there is nothing to guess that a slow hash would slow down.
"""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from sqlalchemy import delete, select

from restow.clock import Clock
from restow.database.engine import Database, Transaction
from restow.errors import BadInputError, FieldError, NotFoundError, PermanentError
from restow_api.store import ApiKeyRow, AuditRow, SessionRow


class Role(StrEnum):
    """What a caller may do; each role may do all that those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"

    def covers(self, other: "Role") -> bool:
        order = tuple(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking. `name` is what the log and the audit remember."""

    key: str
    name: str
    role: Role


class LastAdminError(PermanentError):
    """Without this key nobody may make keys any more."""


SECRET_BYTES = 32
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
# names under which Restow itself acts: nobody shall look like it in the log
RESERVED = frozenset({"restow", "policy", "detector", "planner", "executor", "api"})
_KEY = re.compile(r"rk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


def digest_of(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_key() -> tuple[str, str]:
    """The id and the secret of a key that nobody has yet."""
    return secrets.token_hex(6), secrets.token_urlsafe(SECRET_BYTES)


def parts_of_key(key: str) -> tuple[str, str] | None:
    """The id and the secret of `rk_<id>_<secret>`; None if it is none."""
    match = _KEY.fullmatch(key)
    return None if match is None else (match[1], match[2])


def checked(name: str, role: str) -> tuple[str, Role]:
    """Raises BadInputError."""
    wrong = []
    if NAME.fullmatch(name) is None or name.lower() in RESERVED:
        expected = "1 to 64 of letters, digits and . _ @ -, beginning with a letter or digit"
        wrong.append(FieldError("name", name, f"{expected}; not {', '.join(sorted(RESERVED))}"))
    if role not in tuple(Role):
        wrong.append(FieldError("role", role, "one of " + ", ".join(Role)))
    if wrong:
        raise BadInputError("key", tuple(wrong))
    return name, Role(role)


async def make_key(
    transaction: Transaction, clock: Clock, *, name: str, role: str, by: str, by_role: str = Role.ADMIN
) -> tuple[ApiKeyRow, str]:
    """The row and the key itself, which is kept nowhere. Raises BadInputError, also if the name is in use."""
    name, wanted = checked(name, role)
    taken = select(ApiKeyRow.id).where(ApiKeyRow.name == name, ApiKeyRow.revoked_at.is_(None))
    if (await transaction.session.execute(taken)).first() is not None:
        raise BadInputError("key", (FieldError("name", name, "a name that no other valid key has"),))
    key_id, secret = new_key()
    now = clock.now()
    row = ApiKeyRow(
        id=key_id,
        name=name,
        role=wanted.value,
        digest=digest_of(secret),
        created_at=now,
        created_by=by,
        revoked_at=None,
    )
    transaction.session.add(row)
    transaction.session.add(
        AuditRow(at=now, by=by, role=by_role, action="key.create", subject=name, domain="", result="done",
                 why=f"role {wanted}, key id {key_id}", event=None)
    )  # fmt: skip
    await transaction.session.flush()
    return row, f"rk_{key_id}_{secret}"


async def revoke_key(
    transaction: Transaction, clock: Clock, *, key: str, by: str, by_role: str = Role.ADMIN
) -> ApiKeyRow:
    """By id or by name; its sessions end too. Raises NotFoundError, LastAdminError."""
    wanted = select(ApiKeyRow).where((ApiKeyRow.id == key) | (ApiKeyRow.name == key), ApiKeyRow.revoked_at.is_(None))
    row = (await transaction.session.execute(wanted.order_by(ApiKeyRow.id))).scalars().first()
    if row is None:
        raise NotFoundError(f"no valid key has the id or the name {key!r}")
    if row.role == Role.ADMIN.value:
        # locked, so that of two admins who revoke each other's keys one is told
        admins = select(ApiKeyRow.id).where(ApiKeyRow.role == Role.ADMIN.value, ApiKeyRow.revoked_at.is_(None))
        if len((await transaction.session.execute(admins.with_for_update())).all()) == 1:
            raise LastAdminError(f"{row.name} is the last valid admin key: nobody could make another; make one first")
    row.revoked_at = clock.now()
    await transaction.session.execute(delete(SessionRow).where(SessionRow.key == row.id))
    transaction.session.add(
        AuditRow(at=row.revoked_at, by=by, role=by_role, action="key.revoke", subject=row.name, domain="",
                 result="done", why=f"key id {row.id}", event=None)
    )  # fmt: skip
    await transaction.session.flush()
    return row


async def list_keys(database: Database) -> tuple[ApiKeyRow, ...]:
    async with database.reading() as session:
        wanted = select(ApiKeyRow).order_by(ApiKeyRow.created_at, ApiKeyRow.id)
        return tuple((await session.execute(wanted)).scalars())


async def principal_of_key(database: Database, key: str) -> Principal | None:
    """Who holds this key; None if nobody does, or no longer."""
    parts = parts_of_key(key)
    if parts is None:
        return None
    async with database.reading() as session:
        row = await session.get(ApiKeyRow, parts[0])
    stored = row.digest if row is not None else digest_of("")
    same = hmac.compare_digest(stored, digest_of(parts[1]))  # compared also for an unknown id: equal time
    if row is None or not same or row.revoked_at is not None:
        return None
    return Principal(row.id, row.name, Role(row.role))


# --- sessions of the console ------------------------------------------------------------------


async def open_session(transaction: Transaction, clock: Clock, who: Principal, *, kept_s: float) -> str:
    """A secret for the cookie; only its digest is kept."""
    secret = secrets.token_urlsafe(SECRET_BYTES)
    expires_at = clock.now() + timedelta(seconds=kept_s)
    transaction.session.add(SessionRow(digest=digest_of(secret), key=who.key, expires_at=expires_at))
    return secret


async def close_session(transaction: Transaction, secret: str) -> None:
    await transaction.session.execute(delete(SessionRow).where(SessionRow.digest == digest_of(secret)))


async def principal_of_session(database: Database, clock: Clock, secret: str) -> Principal | None:
    async with database.reading() as session:
        wanted = (
            select(ApiKeyRow)
            .join(SessionRow, SessionRow.key == ApiKeyRow.id)
            .where(SessionRow.digest == digest_of(secret), SessionRow.expires_at > clock.now())
            .where(ApiKeyRow.revoked_at.is_(None))
        )
        row = (await session.execute(wanted)).scalar_one_or_none()
    return None if row is None else Principal(row.id, row.name, Role(row.role))


def csrf_token(session_secret: str) -> str:
    """What every acting form of this session carries; it cannot be guessed without the cookie."""
    return hmac.new(session_secret.encode(), b"restow form", hashlib.sha256).hexdigest()


# --- the first start --------------------------------------------------------------------------


async def first_start(database: Database, clock: Clock, data_dir: Path, new_id: Callable[[], str]) -> None:  # noqa: ARG001
    """Make the admin's key if no valid admin key exists, and leave it in DIR/admin.key, mode 0600."""
    async with database.reading() as session:
        wanted = select(ApiKeyRow.id).where(ApiKeyRow.role == Role.ADMIN.value, ApiKeyRow.revoked_at.is_(None))
        if (await session.execute(wanted)).first() is not None:
            return
    async with database.writing() as transaction:
        taken = select(ApiKeyRow.id).where(ApiKeyRow.name == "admin", ApiKeyRow.revoked_at.is_(None))
        name = (
            "admin" if (await transaction.session.execute(taken)).first() is None else f"admin-{secrets.token_hex(3)}"
        )
        _, key = await make_key(transaction, clock, name=name, role=Role.ADMIN, by="first-start")
        _write_private(data_dir / "admin.key", key)  # before the commit: a key that nobody has is worse than none


def _write_private(file: Path, key: str) -> None:
    """Never readable by others, not even for the moment before a chmod."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(key + "\n")
    fresh.replace(file)
