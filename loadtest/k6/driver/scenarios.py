"""Which scenarios there are, how large they are, and what goes wrong in them."""

from dataclasses import dataclass, field
from typing import Callable

from . import faults


@dataclass(frozen=True)
class Scenario:
    # Some seconds, for every check; and what two cores hold with k6 and the cluster on them.
    smoke: dict
    full: dict
    fault: Callable = faults.none
    # Past the balancer, where sockets must know whose node is whose.
    at_nodes: bool = False
    # Settings of the nodes that only this scenario wants.
    settings: dict = field(default_factory=dict)


SCENARIOS = {
    "ramp": Scenario(
        smoke={"SOCKETS": 400, "ROOMS": 40, "RAMP": 6, "DURATION": 4, "RATE": 40},
        full={"SOCKETS": 4000, "ROOMS": 400, "RAMP": 30, "DURATION": 20, "RATE": 100},
    ),
    "fan-out": Scenario(
        smoke={"SOCKETS": 200, "ROOMS": 20, "RAMP": 2, "DURATION": 10, "RATE": 100},
        full={"SOCKETS": 1000, "ROOMS": 100, "RAMP": 5, "DURATION": 60, "RATE": 300},
        at_nodes=True,
    ),
    "hot-room": Scenario(
        smoke={"SOCKETS": 200, "ROOMS": 1, "RAMP": 2, "DURATION": 8, "RATE": 10},
        full={"SOCKETS": 1000, "ROOMS": 1, "RAMP": 10, "DURATION": 60, "RATE": 5},
        at_nodes=True,
    ),
    "room-churn": Scenario(
        smoke={"RATE": 10, "DURATION": 8},
        full={"RATE": 50, "DURATION": 60},
    ),
    "slow-consumer": Scenario(
        smoke={"SOCKETS": 20, "ROOMS": 1, "RAMP": 1, "DURATION": 120, "RATE": 60, "SLOW": 3, "ROOM": "slow-room"},
        full={"SOCKETS": 50, "ROOMS": 1, "RAMP": 1, "DURATION": 120, "RATE": 60, "SLOW": 10, "ROOM": "slow-room"},
        fault=faults.slow_consumers,
    ),
    "reconnect-storm": Scenario(
        smoke={"SOCKETS": 300, "ROOMS": 30, "RAMP": 2, "DURATION": 120, "RATE": 60},
        full={"SOCKETS": 2000, "ROOMS": 200, "RAMP": 10, "DURATION": 300, "RATE": 200, "CALM": 10},
        fault=faults.reconnect_storm,
    ),
    "rolling-restart": Scenario(
        smoke={"SOCKETS": 300, "ROOMS": 30, "RAMP": 2, "DURATION": 300, "RATE": 60},
        full={"SOCKETS": 2000, "ROOMS": 200, "RAMP": 10, "DURATION": 900, "RATE": 300, "CALM": 10},
        fault=faults.rolling_restart,
    ),
    "redis-kill": Scenario(
        smoke={"SOCKETS": 200, "ROOMS": 20, "RAMP": 2, "DURATION": 120, "RATE": 60, "OUTAGE": 2},
        full={"SOCKETS": 2000, "ROOMS": 200, "RAMP": 10, "DURATION": 300, "RATE": 300, "OUTAGE": 10, "CALM": 10},
        fault=faults.redis_kill,
    ),
    "order": Scenario(
        smoke={"SOCKETS": 60, "ROOMS": 6, "RAMP": 1, "DURATION": 10, "RATE": 120},
        full={"SOCKETS": 600, "ROOMS": 60, "RAMP": 5, "DURATION": 120, "RATE": 300},
        at_nodes=True,
    ),
    "code-rooms": Scenario(
        smoke={"SOCKETS": 100, "ROOMS": 20, "RAMP": 2, "DURATION": 8, "RATE": 40},
        full={"SOCKETS": 1000, "ROOMS": 200, "RAMP": 10, "DURATION": 60, "RATE": 200},
    ),
    "courier": Scenario(
        smoke={"SOCKETS": 100, "RAMP": 2, "DURATION": 8, "RATE": 60},
        full={"SOCKETS": 1000, "RAMP": 10, "DURATION": 60, "RATE": 200},
    ),
    "review": Scenario(
        smoke={"SOCKETS": 40, "ROOMS": 4, "RAMP": 2, "DURATION": 8, "RATE": 20},
        full={"SOCKETS": 200, "ROOMS": 20, "RAMP": 5, "DURATION": 60, "RATE": 50},
    ),
    "workspace": Scenario(
        smoke={"SOCKETS": 90, "ROOMS": 10, "RAMP": 2, "DURATION": 8, "RATE": 60},
        full={"SOCKETS": 900, "ROOMS": 90, "RAMP": 10, "DURATION": 60, "RATE": 200},
    ),
}

# All clients of a run come from one address, and write faster than people do.
LIFTED = {
    "HANDSHAKE_RATE": 100000,
    "HANDSHAKE_BURST": 100000,
    "MAX_HANDSHAKES_PER_SECOND": 100000,
    "MESSAGE_RATE": 1000,
    "MESSAGE_BURST": 2000,
    "USER_MESSAGE_RATE": 1000,
}

# A smoke does not wait for balancers that look every 2 s any longer than they need.
BY_SCALE = {"smoke": {"DRAIN_DELAY": 5}, "full": {}}
