// The workspace door: people in workspaces who tell each other of changes, and in each an agent at work, whose runs
// they follow.

import { index, live, run } from "../lib/crowd.ts";
import { workspace, type Frame } from "../lib/dialects.ts";
import { calm } from "../lib/metrics.ts";
import { Person } from "../lib/person.ts";
import { Room } from "../lib/room.ts";
import { agents, Runs } from "../lib/runs.ts";
import { sizes } from "../lib/sizes.ts";

// Of the members alone; each workspace has its agent's socket beside them.
const size = sizes({ sockets: 90, rooms: 10, duration: 10, rate: 60, ramp: 2 });

export const options = {
  scenarios: { workspace: { executor: "per-vu-iterations", vus: size.vus, iterations: 1, maxDuration: "2h" } },
  thresholds: calm(size),
};

/** A workspace's account, which passes on what is told of the agent. */
class Workspace extends Room {
  runs: Runs | null = null;

  other(person: Person, type: string, frame: Frame): void {
    this.runs?.hear(person, type, frame);
  }
}

export default () => {
  const own = size.rooms / size.vus;
  const each = size.sockets / size.rooms;
  const places = Array.from({ length: own }, (_, nth) => {
    const name = `work-${run()}-${index()}-${nth}`;
    const room = new Workspace(0, workspace.door);
    const members = Array.from({ length: each }, (_, member) => {
      const person = new Person({ user: `${name}-${member}`, room: name, target: nth + member }, workspace, room);
      room.has(person);
      return person;
    });
    room.runs = new Runs(name, members);
    const agent = new Person({ user: `${name}-agent`, room: name, target: nth }, agents, room.runs);
    return { room, runs: room.runs, members, agent };
  });
  const people = places.flatMap(({ members, agent }) => [...members, agent]);
  return live(size, {
    people,
    ledgers: places.flatMap(({ room, runs }) => [room, runs]),
    isComplete: () => people.every((person) => person.wasHere),
    // Each turn a member says something, and the agent does a step.
    speak: (turn) => {
      const { room, runs, members, agent } = places[turn % own]!;
      room.speak(members[Math.floor(turn / own) % each]!);
      runs.work(agent);
    },
  });
};
