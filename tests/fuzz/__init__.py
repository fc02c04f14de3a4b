"""What comes from strangers, fuzzed with coverage as the guide (atheris, libFuzzer): `scripts/fuzz`."""
