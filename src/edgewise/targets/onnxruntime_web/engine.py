"""The files of onnxruntime-web that a page needs: one script and one WebAssembly module for each provider."""

from __future__ import annotations

from edgewise.targets.browser.engines import Engine, Package

__all__ = ["ENGINE"]

ENGINE = Engine(
    "onnxruntime-web",
    (
        Package(
            "onnxruntime-web",
            "1.30.0",
            "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
            (
                "package.json",
                "dist/ort.wasm.min.mjs",
                "dist/ort-wasm-simd-threaded.mjs",
                "dist/ort-wasm-simd-threaded.wasm",
                "dist/ort.webgpu.min.mjs",
                "dist/ort-wasm-simd-threaded.asyncify.mjs",
                "dist/ort-wasm-simd-threaded.asyncify.wasm",
            ),
        ),
    ),
    {
        "onnxruntime-web/wasm": "onnxruntime-web/dist/ort.wasm.min.mjs",
        "onnxruntime-web/webgpu": "onnxruntime-web/dist/ort.webgpu.min.mjs",
    },
)
