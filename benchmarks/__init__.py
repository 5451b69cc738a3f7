"""What edgewise costs and gains against its peers, measured again on this machine: `python -m benchmarks`."""
