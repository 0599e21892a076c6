"""The courier run of loadtest/, with fewer users."""

import subprocess
import sys

import pytest

from support.processes import ROOT


@pytest.mark.alone
def test_acknowledgements_are_true_while_a_node_dies():
    """What was acknowledged is lost, comes twice, or was never sent to whom it says."""
    arguments = ["--users", "60", "--absent", "10", "--events", "1000", "--rate", "250"]
    run = subprocess.run(
        [sys.executable, "loadtest/courier.py", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=180, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
