import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner, Signer

from edgewise.bundle.canonical import canonical_json
from edgewise.bundle.signing import SignatureFile, Trusted, development_signer, sign, verify
from edgewise.errors import TrustError

PAYLOAD = b'{"name":"m"}'
ALICE, BOB, CAROL, MALLORY = (CryptoSigner.generate_ed25519() for _ in range(4))


def trust(*signers: Signer, threshold: int) -> Trusted:
    return Trusted({s.public_key.keyid: s.public_key for s in signers}, threshold)


def released(*signers: Signer) -> bytes:
    return sign(PAYLOAD, list(signers), state="release")


def entry(signer: Signer, payload: bytes = PAYLOAD) -> dict[str, str]:
    return {"keyid": signer.public_key.keyid, "sig": signer.sign(payload).signature}


def signature_file(entries: list[dict[str, str]], keys: dict[str, Any]) -> bytes:
    return canonical_json(SignatureFile(state="release", keys=keys, signatures=tuple(entries)))


def test_no_signature_file_is_unsigned() -> None:
    assert verify(PAYLOAD, None) == "unsigned"


def test_a_signature_without_trusted_keys_is_development() -> None:
    assert verify(PAYLOAD, sign(PAYLOAD, [ALICE], state="development")) == "development"


def test_a_file_that_calls_itself_release_is_development_to_a_reader_without_keys() -> None:
    assert verify(PAYLOAD, released(MALLORY)) == "development"


def test_enough_trusted_signatures_are_a_release() -> None:
    assert verify(PAYLOAD, released(ALICE, BOB), trust(ALICE, BOB, CAROL, threshold=2)) == "release"


def test_the_same_key_signs_the_same_bytes() -> None:
    assert released(ALICE) == released(ALICE)


def test_an_unsigned_bundle_is_refused_where_release_keys_are_asked_for() -> None:
    with pytest.raises(TrustError, match="unsigned"):
        verify(PAYLOAD, None, trust(ALICE, threshold=1))


def test_another_payload_is_refused() -> None:
    with pytest.raises(TrustError, match="changed after signing"):
        verify(PAYLOAD + b" ", released(ALICE))


def test_fewer_signatures_than_the_threshold_are_refused() -> None:
    with pytest.raises(TrustError, match="signed by 1 of the 2 release keys required"):
        verify(PAYLOAD, released(ALICE), trust(ALICE, BOB, threshold=2))


def test_two_signatures_by_one_key_count_once() -> None:
    keyid = ALICE.public_key.keyid
    twice = signature_file([entry(ALICE), entry(ALICE)], {keyid: ALICE.public_key.to_dict()})
    with pytest.raises(TrustError, match="signed by 1 of the 2"):
        verify(PAYLOAD, twice, trust(ALICE, BOB, threshold=2))


def test_a_signature_by_a_key_the_reader_does_not_trust_counts_nothing() -> None:
    with pytest.raises(TrustError, match="signed by 1 of the 2"):
        verify(PAYLOAD, released(ALICE, MALLORY), trust(ALICE, BOB, threshold=2))


def test_the_readers_copy_of_a_key_counts_and_not_the_one_in_the_bundle() -> None:
    alice = ALICE.public_key.keyid
    forged = signature_file(
        [{"keyid": alice, "sig": MALLORY.sign(PAYLOAD).signature}], {alice: MALLORY.public_key.to_dict()}
    )
    with pytest.raises(TrustError, match="changed after signing"):
        verify(PAYLOAD, forged, trust(ALICE, threshold=1))


def test_one_bad_signature_refuses_the_bundle_though_the_others_are_enough() -> None:
    keys = {s.public_key.keyid: s.public_key.to_dict() for s in (ALICE, BOB)}
    with pytest.raises(TrustError, match="changed after signing"):
        verify(PAYLOAD, signature_file([entry(ALICE), entry(BOB, b"other")], keys), trust(ALICE, threshold=1))


def test_a_signature_without_its_public_key_is_refused() -> None:
    with pytest.raises(TrustError, match="no public key"):
        verify(PAYLOAD, signature_file([entry(ALICE)], {}))


def test_a_signature_file_without_signatures_is_refused() -> None:
    with pytest.raises(TrustError, match="holds no signature"):
        verify(PAYLOAD, signature_file([], {}))


@pytest.mark.parametrize("threshold", [0, -1, 2])
def test_a_threshold_that_shows_nothing_or_cannot_be_met_is_refused(threshold: int) -> None:
    with pytest.raises(ValueError, match="threshold"):
        trust(ALICE, threshold=threshold)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="list"),
        pytest.param(b'{"state":"release"}', id="fields missing"),
        pytest.param(b'{"state":"final","keys":{},"signatures":[]}', id="unknown state"),
        pytest.param(b'{"state":"\xff"}', id="not UTF-8"),
        pytest.param(
            b'{"state":"release","signatures":[],"keys":{"a":{"b":' + b"[" * 100_000,
            id="nested beyond reason",
        ),
    ],
)
def test_an_unreadable_signature_file_is_refused(data: bytes) -> None:
    with pytest.raises(TrustError, match=r"signatures\.json cannot be read"):
        verify(PAYLOAD, data)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param({}, id="empty"),
        pytest.param({"keytype": ["ed25519"], "scheme": "ed25519", "keyval": {}}, id="wrong type"),
        pytest.param({"keytype": "ed25519", "scheme": "ed25519", "keyval": {}}, id="no key"),
        pytest.param({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "zz"}}, id="no hex"),
        pytest.param({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "00"}}, id="short"),
        pytest.param({"keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": {"public": "x"}}, id="rsa"),
        pytest.param({"keytype": "none", "scheme": "none", "keyval": {"public": ""}}, id="no algorithm"),
    ],
)
def test_an_unusable_public_key_is_refused(key: dict[str, Any]) -> None:
    alice = ALICE.public_key.keyid
    with pytest.raises(TrustError):
        verify(PAYLOAD, signature_file([entry(ALICE)], {alice: key}))


@pytest.mark.parametrize("sig", ["", "zz", "00", "0" * 128])
def test_an_unusable_signature_is_refused(sig: str) -> None:
    alice = ALICE.public_key.keyid
    with pytest.raises(TrustError, match="changed after signing"):
        verify(
            PAYLOAD,
            signature_file([{"keyid": alice, "sig": sig}], {alice: ALICE.public_key.to_dict()}),
        )


@given(st.integers(0, len(released(ALICE)) - 1), st.integers(1, 255))
@settings(deadline=None, max_examples=200)
def test_a_damaged_signature_file_is_refused_or_still_holds_but_nothing_else(
    position: int, flip: int
) -> None:
    data = bytearray(released(ALICE))
    data[position] ^= flip
    try:  # it still holds where the letter case of a hexadecimal digit changed
        state = verify(PAYLOAD, bytes(data), trust(ALICE, threshold=1))
    except TrustError:
        return
    assert (state, bytes(data).lower()) == ("release", released(ALICE).lower())


def test_a_development_key_is_made_on_first_use(tmp_path: Path) -> None:
    development_signer(tmp_path / "home")
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["development.pem"]


def test_a_development_key_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    development_signer(tmp_path / "home")
    path = tmp_path / "home" / "development.pem"
    assert [stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent)] == [0o600, 0o700]


def test_a_development_key_is_used_again(tmp_path: Path) -> None:
    keys = [signer.public_key for _ in range(2) if (signer := development_signer(tmp_path))]
    assert keys[0] == keys[1]


def test_two_homes_have_two_keys(tmp_path: Path) -> None:
    keys = {s.public_key.keyid for name in "ab" if (s := development_signer(tmp_path / name))}
    assert len(keys) == 2


def test_a_development_key_signs_what_verifies(tmp_path: Path) -> None:
    signer = development_signer(tmp_path)
    assert signer is not None
    assert verify(PAYLOAD, sign(PAYLOAD, [signer], state="development")) == "development"


def test_edgewise_home_says_where_the_key_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWISE_HOME", str(tmp_path / "mine"))
    development_signer()
    assert (tmp_path / "mine" / "development.pem").exists()


def test_an_empty_edgewise_home_is_as_good_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWISE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    development_signer()
    assert (tmp_path / ".config" / "edgewise" / "development.pem").exists()


def test_where_no_key_can_be_kept_there_is_no_signer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGEWISE_HOME", str(tmp_path / "file" / "home"))
    assert development_signer() is None


def test_where_there_is_no_home_there_is_no_signer(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("EDGEWISE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    assert development_signer() is None


@pytest.mark.parametrize("content", [b"", b"not a key", b"\xff\xfe"])
def test_a_damaged_key_file_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "development.pem").write_bytes(content)
    with pytest.raises(TrustError, match=r"development\.pem is not a private key: move it away"):
        development_signer(tmp_path)
    assert (tmp_path / "development.pem").read_bytes() == content


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    rsa = generate_private_key(65537, 2048)
    (tmp_path / "development.pem").write_bytes(
        rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    with pytest.raises(TrustError, match="is not an ed25519 key"):
        development_signer(tmp_path)
