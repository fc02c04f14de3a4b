"""`python -m tests.fleet`: the table of cells, one round with its whole story, or many rounds. See README.md."""

import argparse
import sys
import time
from collections import Counter

from .cells import markdown, play, table
from .faults import FAULTS
from .rounds import Round
from .states import STATES
from .world import STORMY, Broken


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first round, or of the cell")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--downloads", type=int, default=40, help="in each round")
    parser.add_argument("--faults-every", type=float, default=2.0, metavar="SECONDS", help="on average")
    parser.add_argument("--task", help="show the story of this task only")
    parser.add_argument("--table", action="store_true", help="print the table of cells as README.md has it")
    parser.add_argument("--cell", nargs=2, metavar=("STATE", "FAULT"), help="play one cell")
    parser.add_argument("--stormy", action="store_true", help="with a cell: in stormy weather")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the story of rounds that went well, too")
    args = parser.parse_args()
    if args.table:
        _show(markdown(table()))
        return 0
    if args.cell:
        return _cell(args)
    return _rounds(args)


def _cell(args: argparse.Namespace) -> int:
    state_name, fault_name = args.cell
    state = next(state for state in STATES if state.name == state_name)
    fault = next(fault for fault in FAULTS if fault.name == fault_name)
    told: list[str] = []
    try:
        ended = play(state, fault, args.seed, weather=STORMY if args.stormy else None, told=told)
    except Broken as broken:
        _show(broken)
        return 1
    _show("\n".join([*told, ended]))
    return 0


def _rounds(args: argparse.Namespace) -> int:
    began, broken, ends = time.monotonic(), 0, Counter[str]()
    for seed in range(args.seed, args.seed + args.rounds):
        round = Round(seed, args.downloads, faults_every=args.faults_every)
        try:
            round.play()
        except AssertionError as error:
            broken += 1
            _show(error if isinstance(error, Broken) else f"seed {seed}: {error}\n{round.fleet.story(args.task)}")
        else:
            if args.verbose:
                _show(round.fleet.story(args.task, last=sys.maxsize))
        ends.update(row.state.value for row in round.fleet.truth.tasks.values())
        ends.update(faults=round.struck)
    _show(f"{args.rounds} rounds, {broken} broken, {time.monotonic() - began:.0f} s: {dict(ends)}")
    return 1 if broken else 0


def _show(text: object) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
