"""An ONNX Runtime model package: a folder that ONNX Runtime 1.29 and later open by themselves.

    manifest.json                  schema_version, package_name, components: name → folder
    <component>/component.json     variants: name → the provider it is for, and the file to load
    <component>/<variant>/         the model, and what the steps around it read

ONNX Runtime picks the variant whose provider the app has configured. The format is described by the API
(https://onnxruntime.ai/docs/api/c/struct_ort_model_package_api.html) and by what its reader accepts: an unknown field
is refused. So the package is opened here, and its golden cases are run, where this ONNX Runtime can.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import edgewise.targets.onnxruntime  # noqa: F401  # switches telemetry off, so it comes before the library
from edgewise.bundle import golden
from edgewise.bundle.canonical import canonical_json
from edgewise.errors import InputError, ToolchainError
from edgewise.handover import contents
from edgewise.handover.selection import Selection

__all__ = ["opened", "write_package"]

_SCHEMA = "1.0"
_PROVIDER = "CPUExecutionProvider"


def write_package(selection: Selection, folder: Path) -> dict[str, str]:
    """Write the tier's variant as a package, and return its files with what each is.

    Raises InputError for a variant that ONNX Runtime does not load.
    """
    if selection.artifact.format != "onnx":
        raise InputError(
            f"{selection.variant.id} is {selection.artifact.format}, and ONNX Runtime's model packages hold ONNX files: "
            "choose a tier whose variant is one"
        )
    component, variant = _name(selection.model.name), _name(selection.variant.id)
    home = folder / component / variant
    inside = {**dict(contents.loose(selection, home)), **dict(contents.steps(selection, home))}
    manifest = {
        "schema_version": _SCHEMA,
        "package_name": selection.bundle.manifest.name,
        "components": {component: component},
        "additional_metadata": {"producer": selection.bundle.manifest.producer},
    }
    (folder / "manifest.json").write_bytes(canonical_json(manifest))
    (folder / component / "component.json").write_bytes(
        canonical_json({"variants": {variant: _variant(selection)}})
    )
    return {
        "manifest.json": "the package",
        f"{component}/component.json": "its variant, and the provider that it is for",
        **{f"{component}/{variant}/{name}": what for name, what in inside.items()},
    }


def opened(selection: Selection, folder: Path) -> str:
    """Open the package with ONNX Runtime, run the golden cases, and return what was done.

    Raises ToolchainError where it does not open, or answers beyond the variant's tolerance.
    """
    import onnxruntime

    version = onnxruntime.__version__
    if not hasattr(onnxruntime, "ModelPackageContext"):
        return f"not opened: onnxruntime {version} has no model packages"
    try:
        session = _session(onnxruntime, folder, _name(selection.model.name))
        cases = golden.decode(selection.bundle.main_file(selection.model.golden))
        names = [port.feature for port in selection.outputs]
        answers = [dict(zip(names, session.run(names, case.inputs), strict=True)) for case in cases]
    except Exception as error:
        words = re.sub(r"/onnxruntime_src/\S+ .*?[)>] (?=[A-Z])", "", " ".join(str(error).split()))
        raise ToolchainError(f"onnxruntime {version} does not open the package: {words[:200]}") from error
    found = golden.compare([case.outputs for case in cases], answers)
    if not found.rms <= selection.variant.golden_tolerance:
        raise ToolchainError(
            f"onnxruntime {version} answers otherwise from the package: {found.rms:.2g} of the answers' size"
        )
    return f"opened by onnxruntime {version}; {len(cases)} golden cases within {found.rms:.2g} of the answers' size"


def _session(onnxruntime: Any, folder: Path, component: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    package = onnxruntime.ModelPackageContext(str(folder))
    chosen = package.select_component(component, onnxruntime.ModelPackageOptions(options))
    return chosen.create_session()


def _variant(selection: Selection) -> dict[str, Any]:
    return {
        "ep": _PROVIDER,
        "executor_info": {"ort": {"model_file": selection.artifact.files[0].name}},
        "additional_metadata": {
            "artifact": selection.variant.artifact,
            "precision": selection.variant.precision,
            "pre": selection.model.pre,
            "post": selection.model.post,
        },
    }


def _name(name: str) -> str:
    """Return a name that a folder can have."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip(".-") or "model"
