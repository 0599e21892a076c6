"""What all dashboards say alike: thresholds, legends, the usual quantiles."""

from shapes import quantile

NODE = "{{instance}}"
# The alerts' thresholds: ../rules.
FANOUT = [(0.25, "bad")]
CONNECTED = [(None, "bad"), (1, "good")]
YES_NO = {0: "no", 1: "yes"}
# Requests that are no probe's, and those of them that failed.
ASKED = ', route!~"/readyz|/lb|/livez|/health.*|/ws/health"'
ERRORS = f', status=~"5.."{ASKED}'


def quantiles(metric, *by, more="", shares=(0.5, 0.95, 0.99)):
    """The usual three lines."""
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    return [(quantile(share, metric, *by, more=more), f"{legend} p{share * 100:.0f}".strip()) for share in shares]
