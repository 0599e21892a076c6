"""How a dashboard looks in Grafana's JSON, so that the other files can speak of panels and queries alone.

In queries SEL stands for the variables' matchers and RATE for the range of rates.
"""

SCHEMA = 42
COLOURS = {"good": "green", "odd": "orange", "bad": "red"}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
SELECTOR = 'cluster=~"$cluster", namespace=~"$namespace", job=~"$job", instance=~"$instance"'
WIDTH = 24
NODE_PAGE = (
    "/d/collabd-node?var-instance=${__field.labels.instance}"
    "&${datasource:queryparam}&${cluster:queryparam}&${namespace:queryparam}&${job:queryparam}&${__url_time_range}"
)


def rate(metric, *by, more=""):
    """How often a second, added up."""
    return (
        f"sum by ({', '.join(by)}) (rate({metric}{{SEL{more}}}[RATE]))"
        if by
        else f"sum(rate({metric}{{SEL{more}}}[RATE]))"
    )


def quantile(share, metric, *by, more=""):
    """Below which value this share of what was measured lies."""
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', *by, 'le', more=more)})"


def mean(metric, *by):
    return f"{rate(f'{metric}_sum', *by)} / {rate(f'{metric}_count', *by)}"


def zero(query, label=None):
    """Of series that are not there before they count: 0 until then."""
    nothing = f'label_replace(vector(0), "{label}", "none", "", "")' if label else "vector(0)"
    return f"{query} or on () {nothing}"


def panel(
    title,
    shows,
    unit,
    *queries,
    kind="timeseries",
    wide=8,
    high=8,
    steps=None,
    maximum=None,
    stacked=False,
    node_link=False,
    mappings=None,
):
    """`shows`: what is seen, and what is wrong when it looks odd. `queries`: pairs of a query and a legend.

    `steps`: from which values on a colour means something; drawn as a line where there is an axis.
    """
    if not steps or steps[0][0] is not None:
        steps_from_below = [(None, "good"), *(steps or [])]
    else:
        steps_from_below = steps
    defaults = {
        "unit": unit,
        "min": 0,
        "color": {"mode": "thresholds" if kind != "timeseries" else "palette-classic"},
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": value, "color": COLOURS[means]} for value, means in steps_from_below],
        },
    }
    if maximum is not None:
        defaults["max"] = maximum
    if mappings:
        options = {str(value): {"text": text, "index": at} for at, (value, text) in enumerate(mappings.items())}
        defaults["mappings"] = [{"type": "value", "options": options}]
    if kind in ("timeseries", "state-timeline"):
        defaults["custom"] = CUSTOM[kind](steps, stacked)
    if node_link:
        defaults["links"] = [{"title": "This node", "url": NODE_PAGE}]
    return {
        "type": kind,
        "title": title,
        "description": shows,
        "datasource": DATASOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": DATASOURCE,
                "expr": filled(query),
                "legendFormat": legend,
                "range": kind != "stat",
                "instant": kind == "stat",
            }
            for at, (query, legend) in enumerate(queries)
        ],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": OPTIONS[kind],
        "gridPos": {"w": wide, "h": high, "x": 0, "y": 0},
    }


def stat(title, shows, unit, query, **options):
    return panel(title, shows, unit, (query, ""), kind="stat", wide=3, high=5, **options)


def filled(query):
    return query.replace("SEL", SELECTOR).replace("RATE", "$__rate_interval")


CUSTOM = {
    "timeseries": lambda steps, stacked: {
        "lineWidth": 1,
        "fillOpacity": 20 if stacked else 5,
        "showPoints": "never",
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if steps else "off"},
    },
    "state-timeline": lambda steps, stacked: {"lineWidth": 0, "fillOpacity": 80},
}
LEGEND = {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]}
OPTIONS = {
    "timeseries": {"legend": LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
    "state-timeline": {
        "showValue": "never",
        "rowHeight": 0.9,
        "mergeValues": True,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "single", "sort": "none"},
    },
    "stat": {
        "graphMode": "none",
        "colorMode": "value",
        "justifyMode": "auto",
        "textMode": "auto",
        "wideLayout": True,
        "showPercentChange": False,
        "orientation": "auto",
        "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""},
    },
}


def variable(name, label, of, everything=None, multi=False):
    """A variable with the values of a label of the nodes. `everything`: may mean all, and is then this."""
    query = f"label_values({of}, {name})"
    made = {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "skipUrlSync": False,
        "multi": multi,
        "includeAll": everything is not None,
    }
    if everything is not None:
        made |= {"allValue": everything, "current": {"text": "All", "value": "$__all"}}
    return made


VARIABLES = [
    {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "hide": 0,
        "skipUrlSync": False,
        "refresh": 1,
        "multi": False,
        "includeAll": False,
    },
    # Labels that a set-up may not have: then all is what there is.
    variable("cluster", "Cluster", "collab_build_info", everything=".*"),
    variable("namespace", "Namespace", 'collab_build_info{cluster=~"$cluster"}', everything=".*"),
    variable("job", "Job", 'collab_build_info{cluster=~"$cluster", namespace=~"$namespace"}'),
    variable(
        "instance",
        "Node",
        'collab_build_info{cluster=~"$cluster", namespace=~"$namespace", job=~"$job"}',
        everything=".*",
        multi=True,
    ),
]


def placed(rows):
    """Panels one beside the other below their row's title, with numbers. A folded row has its panels within."""
    made, number, y = [], 0, 0
    for title, folded, panels in rows:
        number += 1
        row = {
            "type": "row",
            "id": number,
            "title": title,
            "collapsed": folded,
            "panels": [],
            "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
        }
        made.append(row)
        y += 1
        x = high = 0
        for one in panels:
            number += 1
            size = one["gridPos"]
            if x + size["w"] > WIDTH:
                x, y, high = 0, y + high, 0
            place = {"id": number, "gridPos": size | {"x": x, "y": y}}
            (row["panels"] if folded else made).append(one | place)
            x, high = x + size["w"], max(high, size["h"])
        # What a folded row holds takes no room until it is opened.
        y += 0 if folded else high
    return made


def dashboard(uid, title, about, rows, refresh="30s", since="now-3h"):
    return {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": ["collabd"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "timezone": "browser",
        "refresh": refresh,
        "time": {"from": since, "to": "now"},
        "links": [
            {
                "title": "collabd",
                "type": "dashboards",
                "tags": ["collabd"],
                "icon": "external link",
                "tooltip": "",
                "url": "",
                "asDropdown": False,
                "targetBlank": False,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": VARIABLES},
        "annotations": {
            "list": [
                {
                    "name": "Nodes drain",
                    "datasource": DATASOURCE,
                    "enable": True,
                    "hide": False,
                    "iconColor": "orange",
                    "expr": filled("collab_draining{SEL} == 1"),
                },
                {
                    "name": "Alerts",
                    "datasource": DATASOURCE,
                    "enable": False,
                    "hide": False,
                    "iconColor": "red",
                    "expr": 'ALERTS{alertname=~"Collab.+", alertstate="firing", job=~"$job|"}',
                },
            ]
        },
        "panels": placed(rows),
    }
