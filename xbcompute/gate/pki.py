"""Identities and pinned certificates: who a node is, and whom exactly it believes."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from xbcompute.core.errors import InputError
from xbcompute.core.secret import Secret

_SLACK = dt.timedelta(hours=1)
_BEGIN = b"-----BEGIN "


def uri_of(federation: str, party: str) -> str:
    """The URI that a party's certificate must carry."""
    return f"xbcompute://{federation}/{party}"


@dataclass(frozen=True)
class Pin:
    """One certificate as the gate believes it; ``dns`` is the name a dialler checks, ``der`` what is compared."""

    pem: bytes
    der: bytes
    dns: str
    uris: tuple[str, ...]
    not_before: dt.datetime
    not_after: dt.datetime

    def must_name(self, federation: str, party: str) -> None:
        """Refuse a certificate that was made for someone else.

        Raises:
            InputError: the certificate does not carry the party's URI, or carries another party's as well.
        """
        if self.uris != (uri_of(federation, party),):
            raise InputError(
                "pki.name",
                f"the certificate pinned for {party} is not made for {uri_of(federation, party)}.",
                todo="Ask that party for the certificate of this federation.",
            )


def read_pin(pem: bytes, *, whose: str) -> Pin:
    """The certificate in ``pem``, checked for what this gate can use: P-256, one DNS name, not an authority.

    Raises:
        InputError: naming ``whose`` certificate it is and what is wrong with it.
    """
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError:
        certificates = []
    if len(certificates) != 1:
        raise InputError("pki.pem", f"the certificate of {whose} is not one certificate in PEM form.")
    certificate = certificates[0]
    try:
        key = certificate.public_key()
        extensions = certificate.extensions
    except (ValueError, UnsupportedAlgorithm):
        raise InputError("pki.form", f"the certificate of {whose} cannot be read.") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InputError("pki.curve", f"the certificate of {whose} is not on curve P-256.")
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns, uris = (
            names.get_values_for_type(x509.DNSName),
            names.get_values_for_type(x509.UniformResourceIdentifier),
        )
        authority = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        dns, uris, authority = [], [], True
    if not dns or authority:
        raise InputError(
            "pki.extensions",
            f"the certificate of {whose} lacks a DNS name, or may sign other certificates.",
            todo="Make one with `xbcompute keys`.",
        )
    return Pin(
        pem=certificate.public_bytes(Encoding.PEM),
        der=certificate.public_bytes(Encoding.DER),
        dns=dns[0],
        uris=tuple(uris),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def fingerprint(pem: bytes) -> str:
    """``sha256:<hex>`` of the certificate's DER form, to compare over the telephone.

    Raises:
        InputError: ``pem`` is not one certificate.
    """
    try:
        der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    except ValueError:
        raise InputError("pki.pem", "not a certificate in PEM form.") from None
    return "sha256:" + hashlib.sha256(der).hexdigest()


@dataclass(frozen=True, eq=False)
class Identity:
    """A certificate, its TLS key and an Ed25519 signing key: what a node or a user is known by.

    ``certificate`` is PEM and public; ``tls_key`` is PKCS #8 PEM.
    """

    certificate: bytes
    tls_key: Secret[bytes]
    signing_key: Secret[Ed25519PrivateKey]

    @staticmethod
    def throwaway(
        federation: str,
        party: str,
        dns: str = "localhost",
        *,
        valid: tuple[dt.datetime, dt.datetime] | None = None,
    ) -> Identity:
        """A fresh self-signed identity; without ``valid`` it holds from an hour ago for 30 days."""
        if valid is None:
            now = dt.datetime.now(dt.UTC)
            valid = (now - _SLACK, now + dt.timedelta(days=30))
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, party[:64])])
        names = [x509.DNSName(dns), x509.UniformResourceIdentifier(uri_of(federation, party))]
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(valid[0])
            .not_valid_after(valid[1])
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return Identity(
            certificate.public_bytes(Encoding.PEM),
            Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())),
            Secret(Ed25519PrivateKey.generate()),
        )

    @property
    def signing_public(self) -> str:
        """``ed25519:<base64>`` of the public signing key, as ``federation.toml`` holds it."""
        public = self.signing_key.expose().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return "ed25519:" + base64.b64encode(public).decode("ascii")

    @property
    def fingerprint(self) -> str:
        """``sha256:<hex>`` of the certificate."""
        return fingerprint(self.certificate)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of ``message``."""
        return self.signing_key.expose().sign(message)

    def save(self, path: Path) -> None:
        """Write certificate and both keys to a new file that only its owner may read.

        Raises:
            InputError: the file exists or cannot be written.
        """
        signing = self.signing_key.expose().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise InputError("pki.save", f"{path}: {error.strerror or 'cannot be written'}.") from None
        with os.fdopen(handle, "wb") as file:
            file.write(self.certificate + self.tls_key.expose() + signing)

    @staticmethod
    def load(path: Path) -> Identity:
        """The identity that :meth:`save` wrote.

        Raises:
            InputError: the file is missing, readable by others, or does not hold a certificate and its two keys.
        """
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise InputError("pki.mode", f"{path}: others may read these keys.", todo=f"Run chmod 600 {path}.")
            blocks = [_BEGIN + block for block in path.read_bytes().split(_BEGIN)[1:]]
        except OSError as error:
            raise InputError("pki.load", f"{path}: {error.strerror or 'cannot be read'}.") from None
        if len(blocks) != 3:
            raise InputError("pki.load", f"{path}: not a certificate followed by a TLS key and a signing key.")
        try:
            certificate = x509.load_pem_x509_certificate(blocks[0])
            key, signing = (load_pem_private_key(block, None) for block in blocks[1:])
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise InputError("pki.load", f"{path}: a certificate or key in it cannot be read.") from None
        if not isinstance(signing, Ed25519PrivateKey) or certificate.public_key() != key.public_key():
            raise InputError(
                "pki.load", f"{path}: the TLS key is not the certificate's, or the signing key not Ed25519."
            )
        return Identity(blocks[0], Secret(blocks[1]), Secret(signing))
