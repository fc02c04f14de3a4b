"""Fuzz the readers one after the other, each in a process of its own: no crash, no hang, bounded memory."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

HANG_S = 5
MEMORY_MB = 700
MAX_BYTES = 65_536


def fuzz(name: str, rest: list[str]) -> None:
    """In this process, until libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["ariacluster"]):
        from tests.fuzz.targets import feed
    atheris.Setup([sys.argv[0], *rest], lambda data: feed(name, data))
    atheris.Fuzz()


def main() -> int:
    from tests.fuzz.targets import READERS, SEEDS

    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)}; default: all")
    parser.add_argument("--seconds", type=int, default=60, help="for each of them (default: 60)")
    asked = parser.parse_args()
    if unknown := [name for name in asked.readers if name not in READERS]:
        parser.error(f"there is no reader {unknown[0]!r}")
    failed = []
    for name in asked.readers or READERS:
        print(f"== {name}", flush=True)  # noqa: T201
        with tempfile.TemporaryDirectory(prefix=f"fuzz-{name}-") as corpus:
            for number, seed in enumerate(SEEDS[name]):
                Path(corpus, f"seed{number}").write_bytes(seed)
            limits = [f"-max_total_time={asked.seconds}", f"-timeout={HANG_S}", f"-rss_limit_mb={MEMORY_MB}"]
            command = [sys.executable, "-m", "tests.fuzz", "--one", name, corpus, f"-max_len={MAX_BYTES}", *limits]
            if subprocess.run([*command, "-print_final_stats=1", "-verbosity=0"], check=False).returncode:
                failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}; the input that did it lies here as crash-*, timeout-* or oom-*")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main())
