"""Identities on disk and in memory, and which certificates can be pinned."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.gate.pki import Identity, fingerprint, read_pin, uri_of


def certificate(key: Any, *, dns: bool = True, authority: bool = False, constraints: bool = True) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=9))
    )
    if constraints:
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    if dns:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("x")]), critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)


def test_a_throwaway_identity_is_what_the_gate_needs() -> None:
    identity = Identity.throwaway("pilot", "sz-hospital-1", "node1.example.org")
    pin = read_pin(identity.certificate, whose="sz-hospital-1")
    pin.must_name("pilot", "sz-hospital-1")
    assert pin.dns == "node1.example.org"
    assert pin.uris == (uri_of("pilot", "sz-hospital-1"),) == ("xbcompute://pilot/sz-hospital-1",)
    assert identity.fingerprint == fingerprint(pin.pem) == "sha256:" + hashlib.sha256(pin.der).hexdigest()
    assert Identity.throwaway("pilot", "sz-hospital-1").certificate != identity.certificate


def test_the_signing_key_signs() -> None:
    identity = Identity.throwaway("pilot", "a")
    kind, _, encoded = identity.signing_public.partition(":")
    assert kind == "ed25519"
    public = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded, validate=True))
    public.verify(identity.sign(b"statement"), b"statement")
    with pytest.raises(InvalidSignature):
        public.verify(identity.sign(b"statement"), b"another")


def test_an_identity_is_saved_for_its_owner_and_comes_back(tmp_path: Path) -> None:
    identity = Identity.throwaway("pilot", "a")
    path = tmp_path / "a.pem"
    identity.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    back = Identity.load(path)
    assert back.certificate == identity.certificate
    assert back.tls_key.expose() == identity.tls_key.expose()
    assert back.signing_public == identity.signing_public
    with pytest.raises(InputError) as caught:
        identity.save(path)
    assert caught.value.code == "pki.save"
    path.chmod(0o640)
    with pytest.raises(InputError) as caught:
        Identity.load(path)
    assert caught.value.code == "pki.mode"


def test_files_that_hold_no_identity_are_refused_without_showing_keys(tmp_path: Path) -> None:
    one, other = Identity.throwaway("pilot", "a"), Identity.throwaway("pilot", "b")
    path = tmp_path / "a.pem"
    one.save(path)
    good = path.read_bytes()
    parts = [b"-----BEGIN " + part for part in good.split(b"-----BEGIN ")[1:]]
    foreign = Identity(other.certificate, one.tls_key, one.signing_key)
    (tmp_path / "mixed").mkdir()
    foreign.save(tmp_path / "mixed" / "m.pem")
    for content in (
        b"",
        b"junk",
        parts[0],
        parts[0] + parts[1],
        parts[0] + parts[2] + parts[1],
        parts[0] + parts[1] + parts[1],
        parts[1] + parts[0] + parts[2],
        good.replace(b"BEGIN PRIVATE", b"BEGIN SECRET"),
        (tmp_path / "mixed" / "m.pem").read_bytes(),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            Identity.load(path)
        assert caught.value.code == "pki.load"
        assert "BEGIN" not in str(caught.value)
    with pytest.raises(InputError):
        Identity.load(tmp_path / "absent.pem")


def test_an_identity_does_not_print_its_keys() -> None:
    identity = Identity.throwaway("pilot", "a")
    assert "PRIVATE" not in repr(identity)
    with pytest.raises(IntegrityError):
        f"{identity.tls_key}"


UNUSABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "pki.pem"),
    "junk": (lambda: b"junk", "pki.pem"),
    "two": (lambda: 2 * Identity.throwaway("pilot", "a").certificate, "pki.pem"),
    "another curve": (lambda: certificate(ec.generate_private_key(ec.SECP384R1())), "pki.curve"),
    "Ed25519": (lambda: certificate(ed25519.Ed25519PrivateKey.generate()), "pki.curve"),
    "no names": (lambda: certificate(ec.generate_private_key(ec.SECP256R1()), dns=False), "pki.extensions"),
    "authority": (lambda: certificate(ec.generate_private_key(ec.SECP256R1()), authority=True), "pki.extensions"),
    "perhaps": (lambda: certificate(ec.generate_private_key(ec.SECP256R1()), constraints=False), "pki.extensions"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_certificates_that_cannot_be_pinned_are_refused_by_name(case: str) -> None:
    make, code = UNUSABLE[case]
    pem = make()
    with pytest.raises(InputError) as caught:
        read_pin(pem, whose="sg-centre-1")
    assert caught.value.code == code
    assert "sg-centre-1" in caught.value.text


def test_a_fingerprint_needs_a_certificate() -> None:
    with pytest.raises(InputError):
        fingerprint(b"junk")
