// What came of it: for people as lines, for programs in the shape of k6's `--summary-export`.

/// The thresholds, judged.
export function judged(thresholds, seconds) {
  return thresholds.map(({ metric, text, judge, sink }) => ({ metric, text, ...judge(sink, seconds) }));
}

export function text(metrics, verdicts, seconds) {
  const lines = ["thresholds"];
  for (const { metric, text, value, ok } of verdicts) {
    lines.push(`  ${ok ? "✓" : "✗"} ${metric} ${text}: ${figure(value)}`);
  }
  lines.push("measured");
  for (const { name, kind, sink } of metrics.all()) {
    const values = sink.values(seconds);
    if (kind === "trend" ? values.count > 0 : Object.values(values).some(Boolean)) {
      const shown = Object.entries(values).map(([word, value]) => `${word}=${figure(value)}`);
      lines.push(`  ${name}: ${shown.join(" ")}`);
    }
  }
  return lines.join("\n");
}

/// As k6 writes it, a threshold that was missed is `true`.
export function exported(metrics, verdicts, seconds) {
  const all = {};
  for (const { name, kind, sink } of metrics.all()) {
    const { rate, ...values } = sink.values(seconds);
    if (kind === "counter") values.rate = rate;
    if (kind === "rate") values.value = rate;
    const own = verdicts.filter(({ metric }) => metric === name);
    if (own.length > 0) values.thresholds = Object.fromEntries(own.map(({ text, ok }) => [text, !ok]));
    all[name] = values;
  }
  return { metrics: all };
}

function figure(value) {
  if (Number.isInteger(value)) return String(value);
  return value.toFixed(Math.abs(value) < 10 ? 4 : 1);
}
