"""The files of LiteRT.js that a page needs: with threads, without, and for browsers without relaxed SIMD."""

from __future__ import annotations

from edgewise.targets.browser.engines import Engine, Package

__all__ = ["ENGINE"]

_BUILDS = ("litert_wasm_threaded_internal", "litert_wasm_internal", "litert_wasm_compat_internal")

ENGINE = Engine(
    "litert-web",
    (
        Package(
            "@litertjs/core",
            "2.5.3",
            "sha512-PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==",
            (
                "package.json",
                "dist/index.js",
                *(f"wasm/{build}.{kind}" for build in _BUILDS for kind in ("js", "wasm")),
            ),
        ),
        Package(
            "@litertjs/wasm-utils",
            "2.5.3",
            "sha512-4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==",
            ("package.json", "dist/index.js"),
        ),
    ),
    {
        "@litertjs/core": "@litertjs/core/dist/index.js",
        "@litertjs/wasm-utils": "@litertjs/wasm-utils/dist/index.js",
    },
)
