"""What goes wrong between us and the services of a cloud, as our own errors: of the libraries, of answers."""

from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import requests.exceptions
import structlog
from keystoneauth1 import exceptions as keystone_errors
from openstack import exceptions as sdk_errors

from restow.errors import CredentialError, LostAnswerError, NotFoundError, PermanentError, RestowError, TransientError

MESSAGE_MAX = 300
CREDENTIAL = "Keystone refuses the credential: see auth in clouds.yaml"
_ODD = (KeyError, IndexError, TypeError, ValueError, AttributeError)

log = structlog.get_logger(__name__)


class ServiceFaultError(TransientError):
    """It was answered 500 or 501: the service met something that it did not foresee, or cannot do."""


@contextmanager
def readable(what: str) -> Iterator[None]:
    """For work on answers: one of a shape that nobody foresaw is no answer.

    A fault of our own looks the same from here: so each of them is logged with where it happened.
    """
    try:
        yield
    except _ODD as error:
        log.exception("an answer of an unexpected shape", what=what)
        text = f"{what}: an answer of an unexpected shape ({type(error).__name__}: {shortened(error)})"
        raise TransientError(text) from error


def ours(error: Exception, name: str, *, acts: bool) -> Exception:
    """An error of the libraries as one of ours; what is none of theirs is a fault of this code and stays."""
    text = f"{name}: {shortened(error)}"
    match error:
        case keystone_errors.SSLError():
            return PermanentError(f"{text}; the certificate is refused: see cacert, verify in clouds.yaml")
        case (
            keystone_errors.Unauthorized()
            | keystone_errors.Forbidden()
            | keystone_errors.MissingAuthPlugin()
            | keystone_errors.AuthorizationFailure()
        ):
            return CredentialError(f"{text}; {CREDENTIAL}")
        case keystone_errors.EndpointNotFound() | keystone_errors.EmptyCatalog():
            return PermanentError(f"{text}; no such endpoint: see region_name and interface in clouds.yaml")
        case keystone_errors.ConnectionError() if acts and not _never_sent(error):
            return LostAnswerError(f"{text}: it may have been taken")
        case (
            keystone_errors.ConnectionError()
            | keystone_errors.HttpServerError()
            | keystone_errors.DiscoveryFailure()  # so keystoneauth tells of a Keystone that does not answer,
            | sdk_errors.NotSupported()  # and so the SDK of another service
        ):
            return TransientError(text)
        case sdk_errors.ServiceDisabledException():
            return PermanentError(f"{text}: see region_name and interface in clouds.yaml")
        case keystone_errors.ClientException() | sdk_errors.SDKException():
            return PermanentError(text)
        case _ if type(error) is Exception:  # so keystoneauth tells of a password that is not there
            return CredentialError(f"{text}: see auth in clouds.yaml")
        case _:
            return error


def refused(response: requests.Response, name: str, *, acts: bool) -> RestowError:
    text = f"{name}: {response.status_code} {_message(response)}"
    match response.status_code:
        case 404:
            return NotFoundError(text)
        case 401:
            return CredentialError(f"{text}; {CREDENTIAL}")
        case 403:
            return CredentialError(f"{text}; the user's roles do not allow it")
        case 429:
            return TransientError(text)
        case status if status >= 500 and acts:
            # A proxy may have lost the answer of a service that took the request.
            return LostAnswerError(f"{text}: it may have been taken")
        case 500 | 501:
            return ServiceFaultError(text)
        case status if status >= 500:
            return TransientError(text)
        case _:
            return PermanentError(text)


def broke(error: Exception) -> bool:
    """Whether the connection was made, and broke: not a time limit, nor a service that is not there."""
    return isinstance(error, keystone_errors.ConnectFailure) and not _never_sent(error)


def _never_sent(error: BaseException) -> bool:
    """Whether the connection itself was not made: keystoneauth keeps the cause as the context of its error."""
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            return False
        if isinstance(seen, requests.exceptions.ConnectTimeout):
            return True
        if type(seen).__name__ in ("NewConnectionError", "ConnectTimeoutError", "NameResolutionError"):
            return True
        reason = getattr(seen, "reason", None) or next(
            (one for one in getattr(seen, "args", ()) if isinstance(one, BaseException)), None
        )
        seen = reason if isinstance(reason, BaseException) else seen.__context__
    return False


def _message(response: requests.Response) -> str:
    try:
        document = orjson.loads(response.content)
        if "errors" in document:
            return shortened("; ".join(str(one.get("detail", one.get("title", ""))) for one in document["errors"]))
        (inner,) = document.values()
        return shortened(inner["message"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return shortened(response.reason or "")


def shortened(text: object) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= MESSAGE_MAX else line[: MESSAGE_MAX - 1] + "…"
