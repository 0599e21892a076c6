// Who runs the script, how often and how long: the two of k6's executors that the scenarios use.

import { setMaxListeners } from "node:events";
import { setTimeout as pause } from "node:timers/promises";

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/// `1m30s` or a number of milliseconds, in milliseconds.
export function duration(text, otherwise) {
  if (text === undefined) return otherwise;
  if (typeof text === "number") return text;
  const parts = [...text.matchAll(/([\d.]+)(ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join("") !== text) throw new Error(`'${text}' is no duration`);
  return parts.reduce((total, [, count, unit]) => total + Number(count) * UNITS[unit], 0);
}

/// Aborts when the scenario has had its time, or when the run is to end.
function deadline(milliseconds, stop) {
  const until = AbortSignal.any([AbortSignal.timeout(milliseconds), stop]);
  // Every virtual user listens to it.
  setMaxListeners(0, until);
  return until;
}

const EXECUTORS = {
  async "per-vu-iterations"(scenario, { vu, metrics, stop }) {
    const { vus = 1, iterations = 1 } = scenario;
    const most = duration(scenario.maxDuration, 600_000);
    const until = deadline(most + duration(scenario.gracefulStop, 30_000), stop);
    const end = Date.now() + most;
    const everybody = Array.from({ length: vus }, () => vu());
    await Promise.all(everybody.map(async (one) => {
      for (let done = 0; done < iterations; done += 1) {
        if (Date.now() >= end || stop.aborted) {
          metrics.find("dropped_iterations").add(iterations - done);
          return;
        }
        await one.run(scenario.exec ?? "default", until);
      }
    }));
  },

  async "constant-arrival-rate"(scenario, { vu, metrics, stop, begun }) {
    const { rate, preAllocatedVUs, maxVUs = preAllocatedVUs } = scenario;
    const every = duration(scenario.timeUnit, 1000) / rate;
    const last = duration(scenario.duration);
    const until = deadline(last + duration(scenario.gracefulStop, 30_000), stop);
    const free = Array.from({ length: maxVUs }, () => vu());
    const running = new Set();
    const began = performance.now();
    for (let turn = 0; turn * every < last && !stop.aborted; turn += 1) {
      const early = began + turn * every - performance.now();
      if (early > 0) await pause(early);
      const one = free.pop();
      if (!one) {
        metrics.find("dropped_iterations").add(1);
        continue;
      }
      begun();
      const run = one.run(scenario.exec ?? "default", until).finally(() => {
        free.push(one);
        running.delete(run);
      });
      running.add(run);
    }
    await Promise.all(running);
  },
};

/// Runs one scenario. `vu` makes a virtual user, `begun` is told of each iteration that begins at its time.
export async function execute(scenario, world) {
  const executor = EXECUTORS[scenario.executor];
  if (!executor) throw new Error(`this runner has no executor '${scenario.executor}'`);
  await executor(scenario, world);
}
