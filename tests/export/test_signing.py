"""Signed copies: c2pa's own reader finds what was written, every change is noticed, and nothing else changes."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dentgen.errors import SpecError
from dentgen.export import signing
from dentgen.export.marking import Marker, pattern_in
from dentgen.export.run import STATE, Export, export
from dentgen.export.signing import SAMPLE_ASSERTION, Signer
from dentgen.export.source import ExportSample, open_source, read_unit
from dentgen.export.watermark import THRESHOLD, score
from dentgen.records import COMPOSITE_MEDIA, MEDIA_TYPE, TRAINED_ALGORITHMIC_MEDIA
from tests.docs.commands import DOCS, shell_commands
from tests.export.hard_sets import write_hard_set
from tests.export.interruption import interrupt_second_shard
from tests.export.marked_builds import key_file, large_build
from tests.report.fake_builds import fake_build, written

c2pa = pytest.importorskip("c2pa", exc_type=ImportError)
x509 = pytest.importorskip("cryptography.x509")
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa  # noqa: E402

NOW = datetime.now(UTC)
PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
SEC1 = serialization.PrivateFormat.TraditionalOpenSSL
PLAIN = serialization.NoEncryption()


def openssl_version() -> str:
    """What the program says of itself, "" without it."""
    program = shutil.which("openssl")
    return subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout if program else ""


@dataclass(frozen=True)
class Authority:
    """What issues certificates for a test."""

    folder: Path
    key: Any
    certificate: Any

    def signer(self, name: str, key: Any = None, **changes: Any) -> Signer:
        """Certificate and key of a signer in files of this name."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        usages = [x509.oid.ExtendedKeyUsageOID.EMAIL_PROTECTION]
        leaf = certificate_of(name, key, "Test CA", self.key, usages=changes.pop("usages", usages), **changes)
        files = Signer(str(self.folder / f"{name}.pem"), str(self.folder / f"{name}.key"))
        Path(files.certificates).write_bytes(leaf.public_bytes(PEM))
        Path(files.key).write_bytes(key.private_bytes(PEM, PKCS8, PLAIN))
        return files


def certificate_of(
    name: str, key: Any, issuer: str, issuer_key: Any, *, usages: Any = (), begin: int = -1, end: int = 30
) -> Any:
    """A certificate valid between two days from now; one without extended usages is an authority's."""
    names = [x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, text)]) for text in (name, issuer)]
    flags = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                           "encipher_only", "decipher_only"), False)  # fmt: skip
    authority = not usages
    usage = x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **flags)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = (
        x509.CertificateBuilder(*reversed(names), key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=begin)).not_valid_after(NOW + timedelta(days=end))
        .add_extension(x509.BasicConstraints(authority, None), critical=True).add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
    )  # fmt: skip
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    return Authority(tmp_path_factory.mktemp("keys"), key, certificate_of("Test CA", key, "Test CA", key))


@pytest.fixture(scope="module")
def signer(authority: Authority) -> Signer:
    return authority.signer("clinic")


def build(folder: Path, **sections: Any) -> Path:
    """A build of two shards with four samples."""
    fake_build(folder, [written(0), written(2)], **sections)
    return folder


def samples(source: Path) -> dict[str, ExportSample]:
    found = [sample for unit in open_source(str(source)).units for sample in read_unit(str(source), unit)]
    return {sample.key: sample for sample in found if isinstance(sample, ExportSample)}


def signed(source: Path, out: Path, signer: Signer | None, layout: Any = "coco", workers: int = 1) -> dict[str, Path]:
    """Export; the copies of pictures by key."""
    outcome = export(Export(str(source), str(out), layout, signer=signer), workers=workers)
    assert (outcome.written, outcome.rejected) == (4, ())
    return {path.stem: path for path in pictures(out)}


def pictures(out: Path) -> list[Path]:
    folders = ("images", "JPEGImages")
    return [path for folder in folders for path in sorted((out / folder).rglob("*")) if path.is_file()]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read(content: bytes, extension: str, *anchors: Any) -> tuple[dict[str, Any], str, list[str]]:
    """The manifest, the state of validation, and the codes of what is wrong."""
    trust = {"trust_anchors": "".join(anchor.public_bytes(PEM).decode() for anchor in anchors)} if anchors else {}
    context = c2pa.Context(c2pa.Settings.from_dict({"trust": trust})) if anchors else c2pa.Context()
    with c2pa.Reader(MEDIA_TYPE[extension], io.BytesIO(content), context=context) as reader:  # type: ignore[index]
        document = json.loads(reader.json())
    codes = [status["code"] for status in document.get("validation_status", [])]
    manifest: dict[str, Any] = document["manifests"][document["active_manifest"]]
    return manifest, document["validation_state"], codes


def assertions(manifest: dict[str, Any]) -> dict[str, Any]:
    return {assertion["label"]: assertion["data"] for assertion in manifest["assertions"]}


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize("extension", ["png", "jpg", "webp"])
def test_a_reader_finds_a_valid_signature_and_the_same_pixels(extension: str, tmp_path: Path, signer: Signer) -> None:
    source = build(tmp_path / "build", output={"image_format": extension})
    before, originals = files(source), samples(source)
    copies = signed(source, tmp_path / "out", signer)
    assert set(copies) == set(originals)
    for key, path in copies.items():
        content, original = path.read_bytes(), originals[key].picture
        assert path.suffix == f".{extension}"
        assert read(content, extension)[1:] == ("Valid", ["signingCredential.untrusted"])
        assert np.array_equal(decoded(content), decoded(original))
        assert content != original
    assert files(source) == before


def test_a_reader_that_knows_the_authority_trusts_the_signer(
    tmp_path: Path, authority: Authority, signer: Signer
) -> None:
    copies = signed(build(tmp_path / "build"), tmp_path / "out", signer)
    _, state, codes = read(copies["jaw-000-v000"].read_bytes(), "png", authority.certificate)
    assert (state, codes) == ("Trusted", [])


@pytest.mark.parametrize("extension", ["png", "jpg", "webp"])
def test_marked_pictures_are_signed_afterwards(extension: str, tmp_path: Path, signer: Signer) -> None:
    """The signature is that of the marked picture, and says that there is a mark."""
    source = large_build(tmp_path / "build", output={"image_format": extension})
    marker = Marker(key_file(tmp_path))
    export(Export(str(source), str(tmp_path / "out"), "coco", signer=signer, marker=marker), workers=1)
    copies = pictures(tmp_path / "out")
    assert len(copies) == 4
    for path in copies:
        manifest, state, codes = read(path.read_bytes(), extension)
        assert (state, codes) == ("Valid", ["signingCredential.untrusted"])
        created, watermarked = assertions(manifest)["c2pa.actions.v2"]["actions"]
        assert created["action"] == "c2pa.created"
        assert watermarked == {"action": "c2pa.watermarked.unbound"}
        assert score(decoded(path.read_bytes()), pattern_in(marker.key)) > THRESHOLD


def test_the_manifest_says_what_the_metadata_say(tmp_path: Path, signer: Signer) -> None:
    source = build(tmp_path / "build")
    plan_digest = samples(source)["jaw-000-v001"].origin["spec_digest"]
    manifest, _, _ = read(signed(source, tmp_path / "out", signer)["jaw-000-v001"].read_bytes(), "png")
    generator = manifest["claim_generator_info"][0]
    assert (generator["name"], generator["version"]) == ("dentgen", version("dentgen"))
    assert (manifest["title"], manifest["signature_info"]["common_name"]) == ("jaw-000-v001", "clinic")
    assert "time" not in manifest["signature_info"], "no timestamp authority was asked"
    found = assertions(manifest)
    (action,) = found["c2pa.actions.v2"]["actions"]
    assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", TRAINED_ALGORITHMIC_MEDIA)
    assert found[SAMPLE_ASSERTION] == {
        "key": "jaw-000-v001", "source_key": "jaw-000", "bundle_digest": "b" * 64, "spec_digest": plan_digest,
        "source_license": "CC0-1.0",
    }  # fmt: skip


def test_licences_and_restrictions_of_the_model_are_named(tmp_path: Path, signer: Signer) -> None:
    sample = samples(build(tmp_path / "build"))["jaw-000-v000"]
    bound = {"bundle_licenses": ["openrail"], "use_restrictions": ["https://www.licenses.ai/ai-licenses"]}
    content = signer.signed(sample.picture, "image/png", replace(sample, origin={**sample.origin, **bound}))
    facts = assertions(read(content, "png")[0])[SAMPLE_ASSERTION]
    assert {name: facts[name] for name in bound} == bound


def test_pictures_that_began_as_photographs_are_called_composite(tmp_path: Path, signer: Signer) -> None:
    source = build(tmp_path / "build", sampling={"variants": 2, "start_from": "photo", "strength": 0.5})
    manifest, state, _ = read(signed(source, tmp_path / "out", signer)["jaw-000-v000"].read_bytes(), "png")
    (action,) = assertions(manifest)["c2pa.actions.v2"]["actions"]
    assert (state, action["digitalSourceType"]) == ("Valid", COMPOSITE_MEDIA)


@pytest.mark.parametrize(("synthetic", "declared"), [(False, TRAINED_ALGORITHMIC_MEDIA), (True, "")])
def test_a_source_type_that_contradicts_the_sample_is_not_signed(
    synthetic: bool, declared: str, tmp_path: Path, signer: Signer
) -> None:
    sample = samples(build(tmp_path / "build"))["jaw-000-v000"]
    wrong = replace(sample, synthetic=synthetic, origin={"digital_source_type": declared})
    with pytest.raises(SpecError) as caught:
        signer.signed(sample.picture, "image/png", wrong)
    assert (caught.value.key, caught.value.found) == ("jaw-000-v000", f"the digital source type {declared!r}")
    assert caught.value.expected == (TRAINED_ALGORITHMIC_MEDIA if synthetic else COMPOSITE_MEDIA)


@pytest.mark.parametrize("extension", ["png", "jpg", "webp"])
def test_one_changed_byte_of_the_pixels_is_noticed(extension: str, tmp_path: Path, signer: Signer) -> None:
    source = build(tmp_path / "build", output={"image_format": extension})
    content = bytearray(signed(source, tmp_path / "out", signer)["jaw-000-v000"].read_bytes())
    compressed = samples(source)["jaw-000-v000"].picture[-40:-30]
    content[content.index(compressed)] ^= 1
    _, state, codes = read(bytes(content), extension)
    assert (state, "assertion.dataHash.mismatch" in codes) == ("Invalid", True)


@pytest.mark.parametrize("layout", ["yolo-segment", "yolo-detect", "yolo-semantic", "voc", "monai", "csv"])
def test_layouts_with_picture_files_hold_signed_ones(layout: Any, tmp_path: Path, signer: Signer) -> None:
    copies = signed(build(tmp_path / "build"), tmp_path / "out", signer, layout)
    assert len(copies) == 4
    for key, path in copies.items():
        manifest, state, _ = read(path.read_bytes(), path.suffix[1:])
        assert (manifest["title"], state) == (key, "Valid")


def test_parquet_holds_signed_pictures(tmp_path: Path, signer: Signer) -> None:
    signed(build(tmp_path / "build"), tmp_path / "out", signer, "parquet")
    rows = [row for path in (tmp_path / "out" / "data").rglob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert {row["key"]: read(row["image"]["bytes"], "png")[0]["title"] for row in rows} == {
        key: key for key in samples(tmp_path / "build")
    }


def test_nnunet_pictures_are_signed(tmp_path: Path, signer: Signer) -> None:
    originals = samples(build(tmp_path / "build"))
    export(Export(str(tmp_path / "build"), str(tmp_path / "out"), "nnunet", signer=signer), workers=1)
    pictures = list((tmp_path / "out").glob("images*/*_0000.png"))
    assert {path.name.removesuffix("_0000.png") for path in pictures} == originals.keys()
    for path in pictures:
        assert read(path.read_bytes(), "png")[1] == "Valid"


def test_condition_records_are_refused_before_anything_is_written(tmp_path: Path, signer: Signer) -> None:
    write_hard_set(tmp_path / "set")
    with pytest.raises(SpecError) as caught:
        export(Export(str(tmp_path / "set"), str(tmp_path / "out"), "coco", signer=signer), workers=1)
    assert (caught.value.file, caught.value.key) == (str(tmp_path / "set"), "--sign")
    assert caught.value.found == "condition records"
    assert not (tmp_path / "out").exists()


def test_an_interrupted_export_continues_and_leaves_what_is_signed(
    tmp_path: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = build(tmp_path / "build"), tmp_path / "out"
    interrupt_second_shard(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        export(Export(str(source), str(out), "coco", signer=signer), workers=1)
    first = {path: path.read_bytes() for path in pictures(out)}
    copies = signed(source, out, signer)
    assert (len(first), len(copies)) == (2, 4)
    assert {path: path.read_bytes() for path in first} == first
    assert {read(path.read_bytes(), "png")[1] for path in copies.values()} == {"Valid"}


@pytest.mark.parametrize("after", ["another", "none"])
def test_a_resumed_export_keeps_to_its_certificate(
    after: str, tmp_path: Path, authority: Authority, signer: Signer
) -> None:
    source, out = build(tmp_path / "build"), tmp_path / "out"
    signed(source, out, signer)
    before = files(out)
    other = authority.signer("another") if after == "another" else None
    with pytest.raises(SpecError) as caught:
        export(Export(str(source), str(out), "coco", signer=other), workers=1)
    assert caught.value.file == str(out / STATE / "export.json")
    assert caught.value.found["certificate_sha256"] == signer.checked()
    assert caught.value.expected.get("certificate_sha256") == (other and other.checked())
    assert files(out) == before


def test_the_parameters_name_the_certificate_as_others_do(tmp_path: Path, signer: Signer) -> None:
    signed(build(tmp_path / "build"), tmp_path / "out", signer)
    certificate = x509.load_pem_x509_certificate(Path(signer.certificates).read_bytes())
    parameters = json.loads((tmp_path / "out" / STATE / "export.json").read_bytes())
    assert parameters["certificate_sha256"] == certificate.fingerprint(hashes.SHA256()).hex()


@pytest.mark.integration
def test_processes_sign_and_no_part_of_the_key_is_written(tmp_path: Path, signer: Signer) -> None:
    """The key is in no file of the destination, as text or as a number, nor in what travels to the processes."""
    copies = signed(build(tmp_path / "build"), tmp_path / "out", signer, workers=2)
    assert {read(path.read_bytes(), "png")[1] for path in copies.values()} == {"Valid"}
    content = Path(signer.key).read_bytes()
    key = serialization.load_pem_private_key(content, None)
    number = key.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
    secrets = [*content.split(b"\n")[1:-2], number, number.hex().encode(), b"PRIVATE KEY"]
    assert len(secrets) > 4
    for name, written_bytes in files(tmp_path / "out").items():
        assert not [secret for secret in secrets if secret in written_bytes], name
    assert not [secret for secret in secrets if secret in repr(signer).encode()]


@pytest.mark.parametrize(
    ("kind", "algorithm"), [("P-256", "Es256"), ("P-384", "Es384"), ("RSA", "Ps256"), ("Ed25519", "Ed25519")]
)
def test_the_key_decides_the_algorithm(kind: str, algorithm: str, tmp_path: Path, authority: Authority) -> None:
    keys: dict[str, Any] = {
        "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "RSA": lambda: rsa.generate_private_key(65537, 2048), "Ed25519": ed25519.Ed25519PrivateKey.generate,
    }  # fmt: skip
    signer = authority.signer(kind, keys[kind]())
    sample = samples(build(tmp_path / "build"))["jaw-000-v000"]
    manifest, state, _ = read(signer.signed(sample.picture, "image/png", sample), "png")
    assert (manifest["signature_info"]["alg"], state) == (algorithm, "Valid")


def test_keys_in_the_older_form_are_read(authority: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    signer = authority.signer("older", key)
    Path(signer.key).write_bytes(key.private_bytes(PEM, SEC1, PLAIN))
    assert len(signer.checked()) == 64


def test_authorities_between_signer_and_root_are_handed_on(tmp_path: Path, authority: Authority) -> None:
    middle = ec.generate_private_key(ec.SECP256R1())
    between = certificate_of("Middle CA", middle, "Test CA", authority.key)
    below = Authority(tmp_path, middle, between)
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    usages = [x509.oid.ExtendedKeyUsageOID.EMAIL_PROTECTION]
    leaf = certificate_of("leaf", leaf_key, "Middle CA", middle, usages=usages)
    signer = below.signer("leaf", leaf_key)
    Path(signer.certificates).write_bytes(leaf.public_bytes(PEM) + between.public_bytes(PEM))
    sample = samples(build(tmp_path / "build"))["jaw-000-v000"]
    content = signer.signed(sample.picture, "image/png", sample)
    assert read(content, "png", authority.certificate)[1:] == ("Trusted", [])


def refusal(signer: Signer) -> SpecError:
    """What the check says of wrong files; it never quotes the key."""
    with pytest.raises(SpecError) as caught:
        signer.checked()
    if Path(signer.key).is_file():
        content = Path(signer.key).read_text().split("\n")
        assert not [line for line in content if len(line) > 20 and "KEY" not in line and line in str(caught.value)]
    return caught.value


def test_a_key_of_another_certificate_is_refused(authority: Authority, signer: Signer) -> None:
    other = authority.signer("other")
    error = refusal(Signer(signer.certificates, other.key))
    assert (error.file, error.found) == (other.key, "another key")
    assert signer.certificates in str(error.expected)


def test_files_that_cannot_be_used_are_named(tmp_path: Path, signer: Signer) -> None:
    junk, missing = tmp_path / "junk.pem", str(tmp_path / "missing.pem")
    junk.write_text("-----BEGIN NOTHING-----\n")
    for wrong, file, expected in (
        (Signer(str(junk), signer.key), str(junk), "certificates in PEM"),
        (Signer(signer.key, signer.key), signer.key, "certificates in PEM"),
        (Signer(signer.certificates, str(junk)), str(junk), "a private key in PEM"),
        (Signer(signer.certificates, signer.certificates), signer.certificates, "a private key in PEM"),
        (Signer(missing, signer.key), missing, "a PEM file"),
        (Signer(signer.certificates, missing), missing, "a PEM file"),
    ):
        error = refusal(wrong)
        assert (error.file, error.expected) == (file, expected)


def test_an_encrypted_key_is_refused(authority: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    signer = authority.signer("locked", key)
    Path(signer.key).write_bytes(key.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"word")))
    error = refusal(signer)
    assert (error.file, error.found, error.expected) == (signer.key, "an encrypted key", "a plain one")
    assert "openssl pkey" in error.advice


@pytest.mark.parametrize(("begin", "end"), [(-30, -1), (1, 30)])
def test_a_certificate_that_is_not_valid_now_is_refused(begin: int, end: int, authority: Authority) -> None:
    error = refusal(authority.signer("old", begin=begin, end=end))
    assert f"valid from {(NOW + timedelta(days=begin)):%Y-%m-%d}" in str(error.found)
    assert "valid now" in str(error.expected)


def test_a_self_signed_certificate_is_refused(authority: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    signer = authority.signer("alone", key)
    usages = [x509.oid.ExtendedKeyUsageOID.EMAIL_PROTECTION]
    Path(signer.certificates).write_bytes(certificate_of("alone", key, "alone", key, usages=usages).public_bytes(PEM))
    assert refusal(signer).found == "a self-signed certificate first"


def test_a_certificate_for_web_servers_is_refused_by_c2pa(authority: Authority) -> None:
    signer = authority.signer("server", usages=[x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])
    error = refusal(signer)
    assert (error.file, error.key, error.found) == (
        signer.certificates,
        "trial",
        "Signature: the certificate is invalid",
    )


@pytest.mark.parametrize(("kind", "found"), [("P-521", "secp521r1"), ("DSA", "DSAPrivateKey")])
def test_a_key_that_c2pa_has_no_algorithm_for_is_refused(kind: str, found: str, authority: Authority) -> None:
    key: Any = ec.generate_private_key(ec.SECP521R1()) if kind == "P-521" else dsa.generate_private_key(2048)
    signer = authority.signer(kind, key)
    error = refusal(signer)
    assert (error.file, error.found, error.expected) == (signer.key, found, "a key of P-256, P-384, RSA or Ed25519")


def test_a_missing_library_is_told(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    signing._opened.cache_clear()
    error = refusal(signer)
    assert (error.key, error.expected) == ("--sign", "c2pa: pip install 'dentgen[sign]'")


@pytest.mark.integration
def test_exports_without_signatures_need_no_library() -> None:
    code = "import sys, dentgen.export.run; print(*({'c2pa', 'cryptography'} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


@pytest.mark.skipif("OpenSSL 3" not in openssl_version(), reason="needs OpenSSL 3")
def test_the_commands_of_the_guide_make_a_certificate_that_is_accepted(tmp_path: Path) -> None:
    commands = [line for line in shell_commands(DOCS / "guide" / "export.md") if line.startswith("openssl req ")]
    assert len(commands) == 2
    for command in commands:
        subprocess.run(shlex.split(command), cwd=tmp_path, check=True, capture_output=True)
    assert len(Signer(str(tmp_path / "signer.pem"), str(tmp_path / "signer.key")).checked()) == 64
