"""OpenVINO: runs its own intermediate representation on Intel and AMD CPUs."""
