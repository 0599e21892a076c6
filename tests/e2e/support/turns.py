"""Who runs beside whom: files side by side, a file's tests one after the other, and some tests alone.

A file's tests share nodes, and a later one may look at what the earlier ones left; so a file stays in one process
(`--dist loadfile`), and its order stays, but for those alone.
"""

import fcntl
from contextlib import contextmanager
from pathlib import Path

# Marks a test that has the machine for itself, because its bounds of time are its point.
ALONE = "alone"
# Begun first, the longest before all, so that none goes on when everybody else is done.
LONGEST = [
    *("test_courier", "test_review_history", "test_review_presence", "test_accounts", "test_death", "test_recorded"),
    *("test_documents", "test_review_roles", "test_code_rooms", "test_review_bad_input", "test_balancer", "test_teams"),
    *("test_text_yjs", "test_playground", "test_agents", "test_workspaces", "test_agent_runs", "test_workspace_bad_input", "test_clients_doc"),
]
# Locked, not read: those who run side by side have them in common, and nobody has to tidy up. Whoever wants in passes
# the gate first, so that one who waits for an empty room is not overtaken for ever.
GATE, ROOM = (Path(__file__).with_name(name).open("rb") for name in ("__init__.py", "turns.py"))


def alone(item):
    return item is not None and item.get_closest_marker(ALONE) is not None


def line_up(items):
    """Those alone first: anywhere else they would have to wait until everybody had stopped. Then the longest files."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (not alone(item), place.get(item.path.stem, len(place))))


class Turns:
    """Of this process, among those that run side by side."""

    kept = False

    @contextmanager
    def turn(self, item, following):
        """Waits until the test may run. Those who run alone keep the room until the last of them is done."""
        if not self.kept:
            fcntl.flock(GATE, fcntl.LOCK_EX)
            fcntl.flock(ROOM, fcntl.LOCK_EX if alone(item) else fcntl.LOCK_SH)
            fcntl.flock(GATE, fcntl.LOCK_UN)
        self.kept = alone(item) and alone(following)
        try:
            yield
        finally:
            if not self.kept:
                fcntl.flock(ROOM, fcntl.LOCK_UN)


turn = Turns().turn
