// The review door: recorded sessions, whose people have tokens, and in which every message is stored before it is told.
// Needs JWT_SECRET, and nodes with a database.

import http from "k6/http";
import { index, live, run } from "../lib/crowd.ts";
import { review } from "../lib/dialects.ts";
import { calm } from "../lib/metrics.ts";
import { rooms } from "../lib/rooms.ts";
import { BASE, sizes } from "../lib/sizes.ts";
import { token } from "../lib/token.ts";

const size = sizes({ sockets: 40, rooms: 4, duration: 10, rate: 20, ramp: 2 });

export const options = {
  scenarios: { review: { executor: "per-vu-iterations", vus: size.vus, iterations: 1, maxDuration: "2h" } },
  thresholds: calm(size),
};

export default async () => {
  const own = size.rooms / size.vus;
  const made: string[] = [];
  for (let nth = 0; nth < own; nth += 1) made.push(await make(`host-${run()}-${index()}`));
  return live(size, rooms(size, { dialect: review, name: (room) => made[room % own]!, token }));
};

/** A session in which everybody may write; its id. */
async function make(host: string): Promise<string> {
  const answer = await http.asyncRequest(
    "POST",
    `${BASE}/api/sessions`,
    JSON.stringify({ title: "load", default_role: "editor" }),
    {
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${token(host)}` },
      tags: { name: "sessions" },
    },
  );
  if (answer.status !== 201) throw new Error(`no session was made: ${answer.status} ${answer.body} ${answer.error}`);
  return (answer.json() as { id: string }).id;
}
