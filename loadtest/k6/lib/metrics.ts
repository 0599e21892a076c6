// What all scenarios measure, and the thresholds that most of them share. A scenario says which it leaves out, and why.

import type { Threshold } from "k6/options";
import { Counter, Rate, Trend } from "k6/metrics";
import { KNOWS_NODES, type Sizes } from "./sizes.ts";

/** From the write to the read of a message that was written once, by those who were there. Tags: path (local or remote
 * where the nodes are known, else the door) and door. */
export const fanout = new Trend("fanout_ms", true);
/** From a command's write to its acknowledgement. */
export const acknowledged = new Trend("ack_ms", true);
/** From the beginning of a handshake to the door's greeting. */
export const entered = new Trend("enter_ms", true);
/** Of all that was acknowledged, for each who was to hear it: whether they did. */
export const delivered = new Rate("delivery_ratio");
/** Events that somebody was not told who was told later ones. */
export const gaps = new Counter("gaps");
/** What was acknowledged and never told to one who stayed. */
export const lost = new Counter("lost");
/** What was carried out or told twice. */
export const doubled = new Counter("doubled");
/** What was told after something later, or at different places to different people. */
export const disorder = new Counter("disorder");
/** Ends of sockets: how many were lost without a word. */
export const lostSockets = new Rate("close_1006");
/** Sockets, or handshakes, from which nothing was heard for ten seconds although they were asked. */
export const silences = new Counter("silences");
/** Ends of sockets. Tag: code. */
export const closes = new Counter("closes");
/** Who was told when to come back: whether they were in within that time and SLACK. */
export const backInWindow = new Rate("back_in_window");
/** From the end of a socket to the greeting of the next, without the wait that was asked for. */
export const back = new Trend("back_ms", true);
/** Of those who came back saying where they were: who was told what they missed, and not all anew. */
export const resumed = new Rate("resumed");
/** Commands carried out. */
export const commands = new Counter("commands");
/** Commands that nobody answered until the end. */
export const unanswered = new Counter("unanswered");
/** Commands refused for now, which are said again. Tag: code. */
export const refusals = new Counter("refusals");
/** Who was told not to come again, or something that no client should hear. Tag: code. */
export const turnedAway = new Counter("turned_away");
/** Who was not in at the end. */
export const absent = new Counter("absent");
/** How late the load itself was, so that its own slowness is not taken for the node's. */
export const late = new Trend("late_ms", true);

export type Thresholds = Record<string, Threshold[]>;

const NONE = ["count==0"];

/** What holds whatever happens to nodes: nothing lost, doubled, out of order or unanswered; everybody in at the end. */
export function always(): Thresholds {
  return {
    dropped_iterations: NONE,
    delivery_ratio: ["rate>0.9999"],
    gaps: NONE,
    lost: NONE,
    doubled: NONE,
    disorder: NONE,
    unanswered: NONE,
    turned_away: NONE,
    absent: NONE,
  };
}

/** The handshake: where a connection is refused or torn on purpose this is left out. */
export const promptHandshake: Thresholds = { ws_connecting: ["p(95)<1000"] };

/** No socket is lost without a word, and none goes silent: left out where nodes are killed. */
export const noneTorn: Thresholds = { close_1006: ["rate<0.001"], silences: NONE };

/** Left out where messages wait for something that is away. */
export function promptFanout(): Thresholds {
  const prompt = ["p(99)<250"];
  return KNOWS_NODES ? { "fanout_ms{path:local}": prompt, "fanout_ms{path:remote}": prompt } : { fanout_ms: prompt };
}

/** Nothing is refused, not even for now: for runs in which nothing goes wrong. */
export const noneRefused: Thresholds = { refusals: NONE };

/** Each virtual user came to the end of its part. */
export function allFinished({ vus }: Sizes): Thresholds {
  return { iterations: [`count==${vus}`] };
}

/** A run in which nothing goes wrong. */
export function calm(size: Sizes): Thresholds {
  return { ...always(), ...promptHandshake, ...noneTorn, ...promptFanout(), ...noneRefused, ...allFinished(size) };
}
