"""What a file that is no ONNX model is instead, and how its owner gets an .onnx from it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["explain_bytes", "explain_suffix"]

_PICKLE = (
    "{path} is a Python pickle: opening one runs code, so edgewise never does. Where it was made, run:\n"
    "  from edgewise.lab.model import export_sklearn\n"
    '  export_sklearn(estimator, "{stem}.onnx", features=X.shape[1])'
)
_TORCH = (
    "{path} is a pickle or TorchScript of PyTorch: opening one runs code, so edgewise never does. Where it was made, run:\n"
    '  torch.export.save(torch.export.export(model.eval(), (example,)), "{stem}.pt2")\n'
    'and give the .pt2, or name a function that makes the module: path = "file.py:function"'
)
_OTHER = "{path} is not ONNX, and edgewise starts from ONNX: convert it with its own framework first."
_ADVICE = {
    **dict.fromkeys((".pkl", ".pickle", ".joblib", ".skops"), _PICKLE),
    **dict.fromkeys((".pt", ".pth", ".ckpt"), _TORCH),
    ".safetensors": "{path} holds weights without a graph: export the model that uses them to ONNX.",
    ".ort": "{path} is ONNX Runtime's internal format: give the .onnx it was made from.",
    ".tflite": "{path} is a LiteRT model: only `edgewise build` takes one. This starts from the .onnx it was made from.",
    **dict.fromkeys((".h5", ".keras", ".pb", ".mlpackage", ".mlmodel", ".gguf", ".xml"), _OTHER),
}

# ModelProto's fields and their wire types, from onnx.proto: 0 is a varint, 2 is length-delimited.
_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}


def explain_suffix(path: Path) -> str | None:
    """Return what to do with a file whose name says that it is another format, else None."""
    advice = _ADVICE.get(path.suffix.lower())
    return advice.format(path=path, stem=path.stem) if advice else None


def explain_bytes(path: Path, data: bytes) -> str:
    """Return what is wrong with bytes that don't parse as an ONNX model."""
    if data.startswith(b"version https://git-lfs.github.com/spec/"):
        return f"{path} is a Git LFS pointer, not the model itself: run git lfs pull."
    if _cut_short(data):
        return f"{path} is a truncated ONNX file ({len(data):,} bytes): copy or download it again."
    return f"{path} is not an ONNX model (it starts with {data[:8]!r}): give an .onnx file."


def _cut_short(data: bytes) -> bool:
    """Whether the bytes are whole fields of a ModelProto up to one that runs past the end."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        if _FIELDS.get(key >> 3) != key & 7:
            return False
        value, position = _varint(data, position)
        position += value if key & 7 else 0
    # Whole fields to the very end: it is the later ones, graph among them, that are missing.
    return data[:1] == b"\x08"


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Decode a base-128 integer; return it and the position after it (past the end: cut short)."""
    value = shift = 0
    while position < len(data):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        shift, position = shift + 7, position + 1
        if byte < 0x80:
            break
    return value, position
