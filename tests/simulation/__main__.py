"""``python -m tests.simulation --seeds 10000 [--from N]``; ``--seed N --trace`` for one of them."""

import argparse
import sys
import time
from collections import Counter

from tests.simulation.play import lives, play


def main() -> int:
    """0 if no seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them")
    parser.add_argument("--seed", type=int, help="this one only")
    parser.add_argument("--trace", action="store_true", help="tell all that happens")
    parser.add_argument("--most", type=int, default=20, help="failures to show before stopping")
    asked = parser.parse_args()
    if asked.seed is not None:
        return _one(asked.seed, asked.trace)
    return _many(range(asked.first, asked.first + asked.seeds), asked.most)


def _one(seed: int, trace: bool) -> int:
    life = play(seed, trace=trace)
    _print(*life.trace)
    _print(f"seed {seed}: {life.steps} steps, {life.seconds:.1f} s, {dict(life.counts)}")
    _print(*life.violations)
    return bool(life.violations)


def _many(seeds: range, most: int) -> int:
    started, failed, played, steps = time.perf_counter(), 0, 0, 0
    counts: Counter[str] = Counter()
    for life in lives(seeds):
        played += 1
        steps += life.steps
        counts.update(life.counts)
        if life.violations:
            failed += 1
            _print(f"seed {life.seed}:", *(f"  {line}" for line in life.violations))
            if failed >= most:
                break
    took = time.perf_counter() - started
    _print(f"{played} seeds, {failed} failed, {played / took:.0f} a second, {steps} steps")
    _print(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    return bool(failed)


def _print(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
