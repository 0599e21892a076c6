"""Waiting for something to become true, with a limit instead of a fixed sleep."""

import time

# A step on a two-core machine that builds beside the tests; nothing waits this long when all is well.
PATIENCE = 30.0


def eventually(probe, what, within=PATIENCE, every=0.02):
    """Calls `probe` until it returns something truthy, and returns that."""
    end = time.monotonic() + within
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {what}; last seen: {found!r}")
        time.sleep(every)
