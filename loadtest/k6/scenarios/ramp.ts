// Ramp: sockets come at an even pace, in rooms of ten, which begin to chat when all are in. Shows what it takes to let
// everybody in, and that those who are in already do not notice.

import { live } from "../lib/crowd.ts";
import { calm } from "../lib/metrics.ts";
import { rooms } from "../lib/rooms.ts";
import { sizes } from "../lib/sizes.ts";

const size = sizes({ sockets: 400, rooms: 40, duration: 4, rate: 40, ramp: 8 });

export const options = {
  scenarios: { ramp: { executor: "per-vu-iterations", vus: size.vus, iterations: 1, maxDuration: "2h" } },
  thresholds: { ...calm(size), enter_ms: ["p(95)<1000"] },
};

export default () => live(size, rooms(size));
