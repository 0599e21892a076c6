// A hot room: everybody in one room, a few speak, all hear all of it. Each virtual user has one speaker, whose words it
// looks for at its own people; what others' speakers say must come without a hole.

import { live } from "../lib/crowd.ts";
import { calm } from "../lib/metrics.ts";
import { rooms } from "../lib/rooms.ts";
import { sizes } from "../lib/sizes.ts";

const size = sizes({ sockets: 200, rooms: 1, duration: 10, rate: 10, ramp: 2 });

export const options = {
  scenarios: { "hot-room": { executor: "per-vu-iterations", vus: size.vus, iterations: 1, maxDuration: "2h" } },
  thresholds: calm(size),
};

export default () => live(size, rooms(size, { speakers: 1 }));
