// A reconnect storm: a node is killed while people chat, and all who were on it come to the others at once. Nothing
// that was acknowledged may be lost to them, and everybody must be in again soon.

import { live } from "../lib/crowd.ts";
import { allFinished, always, promptHandshake } from "../lib/metrics.ts";
import { rooms } from "../lib/rooms.ts";
import { sizes } from "../lib/sizes.ts";

const size = sizes({ sockets: 300, rooms: 30, duration: 120, rate: 60, ramp: 2 });

export const options = {
  scenarios: { "reconnect-storm": { executor: "per-vu-iterations", vus: size.vus, iterations: 1, maxDuration: "2h" } },
  // Left out: close_1006, which is what a killed node gives; refusals, for a commit may be on its way when the node
  // dies; fan-out, because those who stayed share the machine with those who come.
  thresholds: {
    ...always(),
    ...promptHandshake,
    ...allFinished(size),
    back_ms: ["p(50)<2000", "max<10000"],
    resumed: ["rate==1"],
  },
};

export default () => live(size, rooms(size));
