// A part of the scripts, with k6's modules as the runner has them, for tests.

import { fileURLToPath } from "node:url";
import { load } from "../runner/load.js";
import { Metrics } from "../runner/metrics.js";
import { Vu } from "../runner/vu.js";

/// What a script or part exports, beside what it measured.
export async function imported(path, env = {}) {
  return (await instance(path, env)).exports;
}

export async function instance(path, env = {}) {
  const program = await load(fileURLToPath(new URL(`../${path}`, import.meta.url)));
  const metrics = new Metrics();
  const scenario = { name: "test", startTime: Date.now(), iterationInTest: 0 };
  return { exports: new Vu(1, program, { metrics, env, scenario }).exports, metrics };
}
