"""C2PA content credentials in exported copies of pictures: who made them, how, and under which licences.

A build's own files never change. Signatures contain random numbers, so two exports of one build differ in them.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dentgen.errors import SpecError
from dentgen.export.source import ExportSample
from dentgen.records import COMPOSITE_MEDIA, MEDIA_TYPE, TRAINED_ALGORITHMIC_MEDIA
from dentgen.shards.tar import png_bytes

if TYPE_CHECKING:
    import c2pa
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

#: Assertion with what ``KEY.json`` says of a picture's making.
SAMPLE_ASSERTION: Final = "dentgen.sample"
#: Neither thumbnails, which would be a second copy of every picture, nor anything that asks a server.
_SETTINGS: Final = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"ocsp_fetch": False, "remote_manifest_fetch": False},
}
_KEYS: Final = "a key of P-256, P-384, RSA or Ed25519"
_ACCEPTED: Final = "a certificate for signing documents or mail, as C2PA wants it, issued by an authority"


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs. Only paths travel to other processes, which read the files themselves.

    Attributes:
        certificates: PEM file: the signer's certificate, then those of authorities between it and the root.
        key: PEM file: the certificate's private key, not encrypted.
    """

    certificates: str
    key: str

    def checked(self) -> str:
        """Check everything with a trial signature; returns the certificate's sha256.

        Raises:
            SpecError: If the library is missing, a file cannot be used, or certificate and key do not belong together.
        """
        _opened.cache_clear()  # the files may have changed since the last export
        blank = png_bytes(np.zeros((1, 1, 3), np.uint8))
        self._signed(blank, MEDIA_TYPE["png"], _manifest("trial", TRAINED_ALGORITHMIC_MEDIA, {}))
        from cryptography.hazmat.primitives import hashes

        return _read_certificates(self.certificates)[0].fingerprint(hashes.SHA256()).hex()

    def signed(self, content: bytes, media_type: str, sample: ExportSample, *, marked: bool = False) -> bytes:
        """The picture with content credentials; its pixels stay as they are.

        Args:
            content: The encoded picture.
            media_type: What the IANA calls its format.
            sample: What the credentials say of it.
            marked: Whether it carries a watermark, which the credentials say then.

        Raises:
            SpecError: If the sample is no generated picture, or cannot be signed.
        """
        origin = {name: value for name, value in sample.origin.items() if name != "digital_source_type"}
        manifest = _manifest(sample.key, source_type_of(sample), {"key": sample.key, **origin}, marked=marked)
        return self._signed(content, media_type, manifest)

    def _signed(self, content: bytes, media_type: str, manifest: dict[str, Any]) -> bytes:
        context, signed = _opened(self), io.BytesIO()
        import c2pa

        try:
            with c2pa.Builder(manifest, context) as builder:
                builder.sign(media_type, io.BytesIO(content), signed)
        except c2pa.C2paError as error:
            key = manifest["title"]
            raise SpecError(file=self.certificates, key=key, found=str(error)[:200], expected=_ACCEPTED) from error
        return signed.getvalue()


def _manifest(title: str, source_type: str, facts: dict[str, Any], *, marked: bool = False) -> dict[str, Any]:
    actions = [{"action": "c2pa.created", "digitalSourceType": source_type}]
    if marked:  # unbound: nobody finds these credentials again by the watermark
        actions.append({"action": "c2pa.watermarked.unbound"})
    return {
        "claim_generator_info": [{"name": "dentgen", "version": version("dentgen")}],
        "title": title,
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": actions}},
            {"label": SAMPLE_ASSERTION, "data": facts},
        ],
    }


def source_type_of(sample: ExportSample) -> str:
    """The sample's IPTC digital source type: nothing that a photograph went into is declared as synthetic.

    Raises:
        SpecError: If the sample has none, or one that contradicts what else is known of it.
    """
    found: str = sample.origin.get("digital_source_type", "")
    expected = TRAINED_ALGORITHMIC_MEDIA if sample.synthetic else COMPOSITE_MEDIA
    if found != expected:
        raise SpecError(key=sample.key, found=f"the digital source type {found!r}", expected=expected)
    return found


@lru_cache(maxsize=1)
def _opened(signer: Signer) -> c2pa.Context:
    """What signs in this process, without a timestamp authority, which would be asked over the network.

    Raises:
        SpecError: If the library is missing, a file cannot be used, or certificate and key do not belong together.
    """
    try:
        import c2pa
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise SpecError(key="--sign", found=str(error), expected="c2pa: pip install 'dentgen[sign]'") from error
    chain, key = _read_certificates(signer.certificates), _read_key(signer.key)
    _require_fit(signer, chain[0], key)
    # Written anew, because c2pa reads PKCS #8 alone, and so that nothing else that the files hold reaches it.
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    certificates = b"".join(certificate.public_bytes(pem) for certificate in chain)
    info = c2pa.C2paSignerInfo(_algorithm(signer.key, key), certificates, secret, None)
    try:
        return c2pa.Context(c2pa.Settings.from_dict(_SETTINGS), c2pa.Signer.from_info(info))
    except c2pa.C2paError as error:
        raise SpecError(file=signer.certificates, found=str(error)[:200], expected=_ACCEPTED) from error


def _read_certificates(file: str) -> list[Certificate]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(_content(file))
    except ValueError as error:
        raise SpecError(file=file, found="something else", expected="certificates in PEM") from error


def _read_key(file: str) -> PrivateKeyTypes:
    """The private key; errors never quote the file."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        return serialization.load_pem_private_key(_content(file), password=None)
    except TypeError:
        advice = "decrypt a copy that only you can read: openssl pkey -in KEY.pem -out PLAIN.pem"
        raise SpecError(file=file, found="an encrypted key", expected="a plain one", advice=advice) from None
    except (ValueError, UnsupportedAlgorithm):
        raise SpecError(file=file, found="something else", expected="a private key in PEM") from None


def _content(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise SpecError(file=file, found=error.strerror or "nothing", expected="a PEM file") from error


def _require_fit(signer: Signer, certificate: Certificate, key: PrivateKeyTypes) -> None:
    """Require a certificate of this key that an authority issued and that is valid now.

    Raises:
        SpecError: If it is not; c2pa signs with certificates that verifiers refuse.
    """
    begin, end, now = certificate.not_valid_before_utc, certificate.not_valid_after_utc, datetime.now(UTC)
    if certificate.public_key() != key.public_key():
        raise SpecError(
            file=signer.key, found="another key", expected=f"that of the first certificate in {signer.certificates}"
        )
    if not begin <= now <= end:
        found, expected = f"a certificate valid from {begin} to {end}", f"one that is valid now, {now:%Y-%m-%d %H:%M}"
        raise SpecError(file=signer.certificates, found=found, expected=expected)
    if certificate.issuer == certificate.subject:
        raise SpecError(file=signer.certificates, found="a self-signed certificate first", expected=_ACCEPTED)


def _algorithm(file: str, key: PrivateKeyTypes) -> str:
    """C2PA's name of the signature that a key makes.

    Raises:
        SpecError: If it has none.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    curves = {"secp256r1": "es256", "secp384r1": "es384"}
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in curves:
        return curves[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    found = key.curve.name if isinstance(key, ec.EllipticCurvePrivateKey) else type(key).__name__
    raise SpecError(file=file, found=found, expected=_KEYS)
