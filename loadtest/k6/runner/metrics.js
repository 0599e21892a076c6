// What is measured: counters, gauges, rates and trends, by name, and of those that thresholds select by tags one more
// each. Knows no script and no threshold.

const KINDS = {
  counter: class {
    count = 0;
    add(value) {
      this.count += value;
    }
    values(seconds) {
      return { count: this.count, rate: seconds > 0 ? this.count / seconds : 0 };
    }
  },

  gauge: class {
    value = 0;
    min = Infinity;
    max = -Infinity;
    add(value) {
      this.value = value;
      this.min = Math.min(this.min, value);
      this.max = Math.max(this.max, value);
    }
    values() {
      const seen = this.max !== -Infinity;
      return { value: this.value, min: seen ? this.min : 0, max: seen ? this.max : 0 };
    }
  },

  rate: class {
    passes = 0;
    total = 0;
    add(value) {
      this.total += 1;
      this.passes += value ? 1 : 0;
    }
    values() {
      return {
        rate: this.total > 0 ? this.passes / this.total : 0,
        passes: this.passes,
        fails: this.total - this.passes,
      };
    }
  },

  trend: class {
    samples = [];
    sorted = true;
    add(value) {
      this.samples.push(value);
      this.sorted = false;
    }
    percentile(percent) {
      if (!this.sorted) {
        this.samples.sort((left, right) => left - right);
        this.sorted = true;
      }
      return percentile(this.samples, percent);
    }
    values() {
      const { samples } = this;
      const sum = samples.reduce((total, value) => total + value, 0);
      return {
        count: samples.length,
        avg: samples.length > 0 ? sum / samples.length : 0,
        min: this.percentile(0),
        med: this.percentile(50),
        max: this.percentile(100),
        "p(90)": this.percentile(90),
        "p(95)": this.percentile(95),
        "p(99)": this.percentile(99),
      };
    }
  },
};

/// Of sorted values, between two of them in proportion; 0 when there are none.
export function percentile(sorted, percent) {
  if (sorted.length === 0) return 0;
  const place = (percent / 100) * (sorted.length - 1);
  const below = sorted[Math.floor(place)];
  const above = sorted[Math.ceil(place)];
  return below + (above - below) * (place - Math.floor(place));
}

class Metric {
  parts = [];

  constructor(name, kind, isTime) {
    this.name = name;
    this.kind = kind;
    this.isTime = isTime;
    this.sink = new KINDS[kind]();
  }

  add(value, tags) {
    const number = Number(value);
    if (Number.isNaN(number)) throw new TypeError(`${this.name} was given ${value}, which is no number`);
    this.sink.add(number);
    for (const part of this.parts) {
      if (part.wanted.every(([name, value]) => String(tags?.[name]) === value)) part.sink.add(number);
    }
  }

  /// The same metric, of samples with these tags alone.
  part(selector, wanted) {
    const name = `${this.name}{${selector}}`;
    let part = this.parts.find((known) => known.name === name);
    if (!part) {
      part = { name, kind: this.kind, isTime: this.isTime, wanted, sink: new KINDS[this.kind]() };
      this.parts.push(part);
    }
    return part;
  }
}

// What k6 measures by itself, as far as this runner does, too.
const BUILT_IN = [
  ["iterations", "counter"],
  ["iteration_duration", "trend", true],
  ["dropped_iterations", "counter"],
  ["checks", "rate"],
  ["ws_sessions", "counter"],
  ["ws_connecting", "trend", true],
  ["ws_session_duration", "trend", true],
  ["ws_msgs_sent", "counter"],
  ["ws_msgs_received", "counter"],
  ["http_reqs", "counter"],
  ["http_req_duration", "trend", true],
  ["http_req_failed", "rate"],
];

export class Metrics {
  #known = new Map();

  constructor() {
    for (const [name, kind, isTime = false] of BUILT_IN) this.declare(name, kind, isTime);
  }

  /// One metric for all virtual users, however many of them declare it.
  declare(name, kind, isTime = false) {
    const known = this.#known.get(name);
    if (known && known.kind !== kind) throw new Error(`${name} is a ${known.kind} already, and cannot be a ${kind}`);
    if (known) return known;
    if (!/^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(name)) throw new Error(`'${name}' is no name of a metric`);
    const metric = new Metric(name, kind, isTime);
    this.#known.set(name, metric);
    return metric;
  }

  find(name) {
    return this.#known.get(name);
  }

  /// All of them, each followed by its parts.
  *all() {
    for (const metric of this.#known.values()) {
      yield metric;
      yield* metric.parts;
    }
  }
}
