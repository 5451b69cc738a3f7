"""The contract: what a bundle is, byte by byte. Types and files, no network."""
