// Thresholds as k6 writes them, `p(99)<250` of `fanout_ms{path:remote}`: read before the run, judged after it.

const AGGREGATIONS = {
  counter: ["count", "rate"],
  gauge: ["value"],
  rate: ["rate"],
  trend: ["avg", "min", "med", "max"],
};

const COMPARISONS = {
  "<": (left, right) => left < right,
  "<=": (left, right) => left <= right,
  ">": (left, right) => left > right,
  ">=": (left, right) => left >= right,
  "==": (left, right) => left === right,
  "===": (left, right) => left === right,
  "!=": (left, right) => left !== right,
};

const EXPRESSION = /^\s*(p\(\s*\d+(?:\.\d+)?\s*\)|[a-z]+)\s*(<=|>=|===|==|!=|<|>)\s*(-?\d+(?:\.\d+)?)\s*$/;
const SELECTION = /^([A-Za-z_][A-Za-z0-9_]*)(?:\{(.*)\})?$/;

/// `fanout_ms{path:remote,door:pairing}` → its name, and the tags that samples must have.
export function selection(text) {
  const found = SELECTION.exec(text);
  if (!found) throw new Error(`'${text}' names no metric`);
  const [, name, selector = ""] = found;
  const wanted = selector.split(",").filter(Boolean).map((pair) => {
    const colon = pair.indexOf(":");
    if (colon < 1) throw new Error(`'${pair}' in '${text}' is no tag; right is name:value`);
    return [pair.slice(0, colon).trim(), pair.slice(colon + 1).trim()];
  });
  return { name, selector, wanted };
}

/// An expression for a metric of this kind; `judge` says what was seen and whether that will do.
export function expression(text, kind) {
  const found = EXPRESSION.exec(text);
  if (!found) throw new Error(`'${text}' is no threshold; right is for example p(99)<250`);
  const [, aggregation, comparison, bound] = found;
  const percent = /^p\(\s*([\d.]+)\s*\)$/.exec(aggregation)?.[1];
  if (percent === undefined ? !AGGREGATIONS[kind].includes(aggregation) : kind !== "trend" || Number(percent) > 100) {
    throw new Error(`'${text}': a ${kind} has no ${aggregation}`);
  }
  const seen = (sink, seconds) =>
    percent === undefined ? sink.values(seconds)[aggregation] : sink.percentile(Number(percent));
  return {
    text,
    judge(sink, seconds) {
      const value = seen(sink, seconds);
      return { value, ok: COMPARISONS[comparison](value, Number(bound)) };
    },
  };
}

/// What a script's options ask for. Throws when a metric is unknown or cannot be asked that.
export function thresholds(options, metrics) {
  return Object.entries(options.thresholds ?? {}).flatMap(([text, expressions]) => {
    const { name, selector, wanted } = selection(text);
    const metric = metrics.find(name);
    if (!metric) throw new Error(`a threshold names '${name}', which nobody measures`);
    const judged = selector ? metric.part(selector, wanted) : metric;
    return [expressions].flat().map((asked) => ({
      metric: text,
      ...expression(asked.threshold ?? asked, metric.kind),
      sink: judged.sink,
    }));
  });
}
