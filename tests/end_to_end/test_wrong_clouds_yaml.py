"""What is wrong in clouds.yaml, with a real Keystone, Nova and Placement: each message names what to mend."""

import contextlib
import os
import socket
import ssl
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support.processes import RESTOW

pytestmark = [pytest.mark.real, pytest.mark.openstack, pytest.mark.timeout(300)]
BAD_INPUT = 2


@pytest.fixture
def doctor(tmp_path):
    """Its exit code and what it writes for people."""

    def look(document, *, cloud="lab"):
        file = tmp_path / "clouds.yaml"
        file.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
        environment = {**os.environ, "OS_CLIENT_CONFIG_FILE": str(file)}
        command = [RESTOW, "doctor", "--cloud", cloud]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
        return done.returncode, done.stdout + done.stderr

    return look


def test_what_is_no_yaml_and_what_is_not_there_is_named(doctor, openstack_lab):
    code, told = doctor("clouds: {lab: [")
    assert (code, "clouds.yaml" in told) == (BAD_INPUT, True), told
    code, told = doctor(openstack_lab.clouds_of(), cloud="lap")
    assert (code, "the closest: lab" in told) == (BAD_INPUT, True), told


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"password": "wrong"}, "Keystone refuses the credential: see auth in clouds.yaml"),
        ({"username": "nobody"}, "Keystone refuses the credential: see auth in clouds.yaml"),
        ({"project_name": "none"}, "Keystone refuses the credential: see auth in clouds.yaml"),
        ({"auth_url": "http://127.0.0.1:9/v3"}, "Unable to establish connection"),
    ],
)
def test_a_credential_that_keystone_refuses_is_told_apart_from_a_keystone_that_is_not_there(
    doctor, openstack_lab, changes, why
):
    code, told = doctor(openstack_lab.clouds_of(**changes))
    assert code != 0
    assert why in told


def test_an_unknown_region_is_named(doctor, openstack_lab):
    document = openstack_lab.clouds_of()
    document["clouds"]["lab"]["region_name"] = "Nowhere"
    code, told = doctor(document)
    assert code != 0
    assert "Nowhere" in told
    assert "region_name" in told


def test_a_user_without_the_role_is_told_so(doctor, openstack_lab):
    code, told = doctor(openstack_lab.clouds_of(**openstack_lab.user("member", role="member")))
    assert code != 0
    assert "403" in told
    assert "the user's roles do not allow it" in told
    code, told = doctor(openstack_lab.clouds_of(**openstack_lab.user("stranger", role=None)))
    assert code != 0
    assert "Keystone refuses the credential" in told


def test_an_application_credential_does_until_it_expires(doctor, openstack_lab):
    identity = openstack_lab.cloud.identity
    user = identity.find_user("admin", ignore_missing=False)
    document = openstack_lab.clouds_of()
    url = document["clouds"]["lab"]["auth"]["auth_url"]
    for expires_s, good in ((3600, True), (2, False)):
        expires = datetime.now(UTC) + timedelta(seconds=expires_s)
        credential = identity.create_application_credential(
            user, f"restow-{expires.timestamp()}", expires_at=expires.strftime("%Y-%m-%dT%H:%M:%S")
        )
        auth = {
            "auth_url": url, "application_credential_id": credential.id,
            "application_credential_secret": credential.secret,
        }  # fmt: skip
        document["clouds"]["lab"] = {
            "auth_type": "v3applicationcredential", "auth": auth, "region_name": "RegionOne",
        }  # fmt: skip
        if not good:
            threading.Event().wait(expires_s + 1)
        _, told = doctor(document)
        assert ("rights: the user may move servers" in told) is good, told
        assert ("Keystone refuses the credential" in told) is not good, told


@pytest.mark.parametrize(("days", "trusted", "good"), [(1, True, True), (-1, True, False), (1, False, False)])
def test_a_certificate_that_has_expired_or_that_nobody_vouches_for_is_named(
    doctor, openstack_lab, tmp_path, days, trusted, good
):
    document = openstack_lab.clouds_of()
    entry = document["clouds"]["lab"]
    with behind_tls(entry["auth"]["auth_url"], tmp_path, days=days) as (address, authority):
        entry["auth"]["auth_url"] = f"{address}/v3"
        entry |= {"cacert": str(authority)} if trusted else {}
        _, told = doctor(document)
    assert ("good" in told) is good, told
    assert ("the certificate is refused: see cacert, verify in clouds.yaml" in told) is not good, told


@contextlib.contextmanager
def behind_tls(url, folder, *, days):
    """The same service behind TLS, with a certificate that is good for so many days; and the authority's own."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    now = datetime.now(UTC)

    def certificate(name, public, *, until, authority):
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(names, critical=False)
        )
        return made.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    until = now + timedelta(days=days)
    authority, own = folder / "authority.pem", folder / "own.pem"
    later = now + timedelta(days=30)
    authority.write_bytes(certificate("authority", authority_key.public_key(), until=later, authority=True))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    own.write_bytes(private + certificate("localhost", key.public_key(), until=until, authority=False))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    real = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=_serve, args=(door, context, (real.hostname, real.port)), daemon=True).start()
        yield f"https://localhost:{door.getsockname()[1]}", authority


def _serve(door, context, behind):
    """Each connection is carried on to the service behind, until the door is closed."""
    while True:
        try:
            plain, _ = door.accept()
        except OSError:
            return
        with contextlib.suppress(OSError):  # a client that refuses the certificate
            outer = context.wrap_socket(plain, server_side=True)
            inner = socket.create_connection(behind)
            for one, other in ((outer, inner), (inner, outer)):
                threading.Thread(target=_carry, args=(one, other), daemon=True).start()


def _carry(one, other):
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    for end in (one, other):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
