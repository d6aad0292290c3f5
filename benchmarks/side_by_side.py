"""Time a reference and this project's way in turn, in one process, and print the ratio with its spread."""

import statistics
import time


def compare(subject, reference, ours, check, repeats):
    """Call `reference()` and `ours()` in turn, `repeats` times each, hold their results together, print the ratio.

    check(reference's result, our result) raises AssertionError if they disagree. In turn, so that a
    machine that slows down slows both; the ratio of each turn, so that the spread shows what is left.
    Returns the list of ratios, reference's seconds to ours.
    """
    ratios = []
    for turn in range(1, repeats + 1):
        seconds, results = [], []
        for function in (reference, ours):
            start = time.perf_counter()
            results.append(function())
            seconds.append(time.perf_counter() - start)
        check(*results)
        ratios.append(seconds[0] / seconds[1])
        print(f"{subject}, turn {turn}: reference {seconds[0]:.2f} s, ours {seconds[1]:.2f} s, ratio {ratios[-1]:.1f}")
    print(f"{subject}: ratio {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}), results agree")
    return ratios
