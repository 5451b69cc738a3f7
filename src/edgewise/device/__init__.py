"""The end device: open a bundle, check what is run, answer, and say where the answer came from."""
