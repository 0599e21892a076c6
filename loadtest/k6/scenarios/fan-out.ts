// Steady fan-out: many rooms of ten, each chatting at a steady pace, for minutes.

import { live } from "../lib/crowd.ts";
import { calm } from "../lib/metrics.ts";
import { rooms } from "../lib/rooms.ts";
import { sizes } from "../lib/sizes.ts";

const size = sizes({ sockets: 200, rooms: 20, duration: 12, rate: 100, ramp: 2 });

export const options = {
  scenarios: { "fan-out": { executor: "per-vu-iterations", vus: size.vus, iterations: 1, maxDuration: "2h" } },
  thresholds: calm(size),
};

export default () => live(size, rooms(size));
