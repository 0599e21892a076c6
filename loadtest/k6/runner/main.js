#!/usr/bin/env node
// Runs a k6 script without k6, as far as the scenarios here need that:
//
//   runner/main.js run [-e NAME=VALUE]... [--summary-export FILE] SCRIPT
//   runner/main.js inspect [-e NAME=VALUE]... SCRIPT       prints its options
//
// Arguments and exit codes are k6's: 99 when a threshold was missed, 104 for options that cannot be, 105 when it was
// told to stop.

import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { execute } from "./executors.js";
import { load } from "./load.js";
import { Metrics } from "./metrics.js";
import { exported, judged, text } from "./summary.js";
import { thresholds } from "./thresholds.js";
import { Vu } from "./vu.js";

const MISSED = 99;
const BAD_OPTIONS = 104;
const STOPPED = 105;

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      env: { type: "string", short: "e", multiple: true, default: [] },
      "summary-export": { type: "string" },
    },
  });
  const [command, path] = positionals;
  if (!["run", "inspect"].includes(command) || positionals.length !== 2) {
    console.error("usage: main.js run|inspect [-e NAME=VALUE]... [--summary-export FILE] SCRIPT");
    return BAD_OPTIONS;
  }
  const env = { ...process.env, ...Object.fromEntries(values.env.map(pair)) };
  const program = await load(path);
  const metrics = new Metrics();
  // Told to the script when it begins; of one scenario, for none of the scripts has two.
  const current = { name: "", startTime: Date.now(), iterationInTest: -1 };
  const world = { metrics, env, scenario: current };

  const { options = {} } = new Vu(0, program, world).exports;
  const scenarios = Object.entries(options.scenarios ?? {});
  if (scenarios.length !== 1) throw new Error(`a script has one scenario here, and ${path} has ${scenarios.length}`);
  const asked = thresholds(options, metrics);
  if (command === "inspect") {
    console.log(JSON.stringify(options, null, 2));
    return 0;
  }

  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop.abort(new Error(signal)));
  let vus = 0;
  const [name, scenario] = scenarios[0];
  Object.assign(current, { name, startTime: Date.now() });
  await execute(scenario, {
    metrics,
    stop: stop.signal,
    vu: () => new Vu((vus += 1), program, world),
    begun: () => {
      current.iterationInTest += 1;
    },
  });
  const seconds = (Date.now() - current.startTime) / 1000;

  const verdicts = judged(asked, seconds);
  console.log(`${name}: ${seconds.toFixed(1)} s\n${text(metrics, verdicts, seconds)}`);
  const file = values["summary-export"];
  if (file) await writeFile(file, JSON.stringify(exported(metrics, verdicts, seconds), null, 2));
  if (stop.signal.aborted) return STOPPED;
  return verdicts.every(({ ok }) => ok) ? 0 : MISSED;
}

function pair(text) {
  const equals = text.indexOf("=");
  if (equals < 1) throw new Error(`'${text}' is no setting; right is NAME=VALUE`);
  return [text.slice(0, equals), text.slice(equals + 1)];
}

// Sockets that are being closed would keep the process.
try {
  process.exit(await main());
} catch (error) {
  console.error(error?.stack ?? error);
  process.exit(BAD_OPTIONS);
}
