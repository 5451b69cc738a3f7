import json
import os
import shutil
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner, Signer

from edgewise.bundle import store
from edgewise.bundle.atomic import replace_directory
from edgewise.bundle.manifest import Licence, Manifest, ModelEntry, TensorSpec
from edgewise.errors import InputError, TrustError


@pytest.fixture
def signer() -> Signer:
    return CryptoSigner.generate_ed25519()


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """What a lab has made: a model with external data, and golden cases."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"graph")
    (folder / "weights.bin").write_bytes(bytes(range(256)))
    (folder / "golden.npz").write_bytes(b"cases")
    return folder


def write(out: Path, sources: Path, signer: Signer | None = None) -> Path:
    model = store.artifact_of(
        "onnx", [("model.onnx", sources / "model.onnx"), ("data/weights.bin", sources / "weights.bin")]
    )
    golden = store.artifact_of("npz", [("golden.npz", sources / "golden.npz")])
    entry = ModelEntry(
        name="m",
        task="classification",
        inputs=(TensorSpec("x", "float32", ("batch", 2)),),
        outputs=(TensorSpec("y", "float32", (None, 2)),),
        original=model.digest,
        golden=golden.digest,
        variants=(),
    )
    manifest = Manifest(
        schema="1.0",
        producer="edgewise test",
        name="m",
        licence=Licence(model="MIT"),
        artifacts={model.digest: model, golden.digest: golden},
        models=(entry,),
        tiers=(),
    )
    files = {
        model.digest: {
            "model.onnx": sources / "model.onnx",
            "data/weights.bin": sources / "weights.bin",
        },
        golden.digest: {"golden.npz": sources / "golden.npz"},
    }
    with replace_directory(out, marker=store.MANIFEST) as staging:
        store.write(staging, manifest, files, signer)
    return out


@pytest.fixture
def bundle(tmp_path: Path, sources: Path, signer: Signer) -> Path:
    return write(tmp_path / "bundle", sources, signer)


def the_file(bundle: Path, name: str) -> Path:
    (path,) = bundle.rglob(name)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def refuse(bundle: Path, match: str) -> None:
    with pytest.raises(TrustError, match=match):
        store.read(bundle).check()


def test_what_was_written_is_read_and_checked(bundle: Path) -> None:
    read = store.read(bundle)
    read.check()
    assert read.main_file(read.model.original).read_bytes() == b"graph"


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, sources: Path, signer: Signer) -> None:
    first, second = (write(tmp_path / name, sources, signer) for name in ("a", "b"))
    assert tree(first) == tree(second)


def test_a_bundle_holds_the_manifest_the_signatures_and_the_artifacts(bundle: Path) -> None:
    artifacts = store.read(bundle).manifest.artifacts
    assert set(tree(bundle)) == {
        "manifest.json",
        "signatures.json",
        *(f"artifacts/{digest}/{file.name}" for digest, a in artifacts.items() for file in a.files),
    }


def test_the_main_file_of_an_artifact_is_its_first(bundle: Path) -> None:
    read = store.read(bundle)
    assert read.main_file(read.model.original).name == "model.onnx"


def test_a_bundle_may_be_moved(bundle: Path, tmp_path: Path) -> None:
    store.read(shutil.move(bundle, tmp_path / "elsewhere")).check()


@pytest.mark.parametrize("name", ["model.onnx", "weights.bin", "golden.npz"])
def test_a_flipped_bit_is_refused_by_the_files_name(bundle: Path, name: str) -> None:
    path = the_file(bundle, name)
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    refuse(bundle, rf"{name} was changed after the bundle was written")


def test_a_truncated_file_is_refused_by_its_name(bundle: Path) -> None:
    os.truncate(the_file(bundle, "weights.bin"), 100)
    refuse(bundle, r"weights\.bin was changed after the bundle was written")


def test_a_file_that_grew_is_refused_by_its_name(bundle: Path) -> None:
    with the_file(bundle, "weights.bin").open("ab") as file:
        file.write(b"!")
    refuse(bundle, r"weights\.bin was changed after the bundle was written")


def test_a_missing_file_is_refused_by_its_name(bundle: Path) -> None:
    the_file(bundle, "golden.npz").unlink()
    refuse(bundle, r"golden\.npz is missing")


def test_a_folder_in_place_of_a_file_is_refused(bundle: Path) -> None:
    path = the_file(bundle, "golden.npz")
    path.unlink()
    path.mkdir()
    refuse(bundle, r"golden\.npz is missing")


def test_one_damaged_artifact_does_not_refuse_another(bundle: Path) -> None:
    the_file(bundle, "golden.npz").unlink()
    read = store.read(bundle)
    read.check_artifact(read.model.original)
    assert read.model.original


@pytest.mark.parametrize("place", ["", "artifacts", "artifacts/new"])
def test_a_file_that_is_not_listed_is_refused_by_its_name(bundle: Path, place: str) -> None:
    (bundle / place).mkdir(exist_ok=True)
    (bundle / place / "extra.pkl").touch()
    refuse(bundle, r"extra\.pkl is not listed in the manifest")


def test_a_named_pipe_is_refused_like_a_file(bundle: Path) -> None:
    os.mkfifo(bundle / "pipe")
    refuse(bundle, "pipe is not listed in the manifest")


def test_a_symlink_in_place_of_a_file_is_refused_though_its_bytes_are_right(bundle: Path) -> None:
    path = the_file(bundle, "golden.npz")
    path.rename(bundle.parent / "outside")
    path.symlink_to(bundle.parent / "outside")
    refuse(bundle, r"golden\.npz")


def test_a_symlink_in_place_of_a_folder_is_refused(bundle: Path) -> None:
    folder = the_file(bundle, "golden.npz").parent
    folder.rename(bundle.parent / "outside")
    folder.symlink_to(bundle.parent / "outside")
    refuse(bundle, f"{folder.name} is a symlink")


def test_an_artifact_under_a_digest_that_is_not_its_own_is_refused(tmp_path: Path, sources: Path) -> None:
    bundle = write(tmp_path / "bundle", sources)
    document = json.loads((bundle / "manifest.json").read_bytes())
    document["artifacts"]["c" * 64] = next(iter(document["artifacts"].values()))
    (bundle / "manifest.json").write_text(json.dumps(document))
    refuse(bundle, "artifact cccccccccccc is not what its name says")


def test_an_artifact_nobody_listed_is_refused(bundle: Path) -> None:
    with pytest.raises(TrustError, match="artifact dddddddddddd"):
        store.read(bundle).check_artifact("d" * 64)


def test_a_manifest_edited_after_signing_is_refused(bundle: Path) -> None:
    manifest = bundle / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"MIT"', b'"BSD"'))
    refuse(bundle, r"does not fit manifest\.json: one of them was changed after signing")


def test_a_manifest_only_laid_out_anew_is_refused_too(bundle: Path) -> None:
    manifest = bundle / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes()), indent=2))
    refuse(bundle, "changed after signing")


def test_a_signed_bundle_says_development(bundle: Path) -> None:
    assert store.read(bundle).signing == "development"


def test_a_bundle_without_signatures_says_unsigned(tmp_path: Path, sources: Path) -> None:
    assert store.read(write(tmp_path / "bundle", sources)).signing == "unsigned"


@pytest.mark.parametrize("what", ["nothing", "an empty folder", "a file"])
def test_what_is_not_a_bundle_is_an_input_error_that_says_what_to_give(tmp_path: Path, what: str) -> None:
    path = tmp_path / "path"
    if what == "an empty folder":
        path.mkdir()
    elif what == "a file":
        path.touch()
    with pytest.raises(InputError, match=r"is not a bundle .* give the folder that `edgewise build` wrote"):
        store.read(path)


def test_a_bundle_may_be_named_by_text(bundle: Path) -> None:
    assert store.read(str(bundle)).path == bundle


def link(path: Path, outside: Path) -> None:
    """Move a file or folder out of the bundle and leave a symlink to it: all its bytes are right."""
    path.rename(outside)
    path.symlink_to(outside)


@pytest.mark.parametrize("name", ["manifest.json", "signatures.json"])
def test_a_symlink_in_place_of_the_manifest_or_its_signatures_is_refused_when_read(
    bundle: Path, name: str
) -> None:
    link(bundle / name, bundle.parent / "outside")
    with pytest.raises(TrustError, match=f"{name} is a symlink or no file"):
        store.read(bundle)


def test_signatures_that_are_a_folder_do_not_pass_for_none(bundle: Path) -> None:
    (bundle / "signatures.json").unlink()
    (bundle / "signatures.json").mkdir()
    with pytest.raises(TrustError, match=r"signatures\.json is a symlink or no file"):
        store.read(bundle)


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_a_symlink_anywhere_on_the_way_to_a_file_is_refused_when_it_is_opened(
    bundle: Path, depth: int
) -> None:
    path = the_file(bundle, "weights.bin")
    way = [bundle / "artifacts", path.parents[1], path.parent, path]
    link(way[depth], bundle.parent / "outside")
    read = store.read(bundle)
    with pytest.raises(TrustError, match=way[depth].name):
        read.check_artifact(read.model.original)


def test_a_file_that_is_not_listed_beside_a_model_is_refused_when_it_is_opened(bundle: Path) -> None:
    (the_file(bundle, "model.onnx").parent / "more.bin").touch()
    read = store.read(bundle)
    with pytest.raises(TrustError, match=r"more\.bin is not listed in the manifest"):
        read.check_artifact(read.model.original)
