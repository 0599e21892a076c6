// The account of one room whose events have places in one order: who was told what, at which place. At the end it says
// what is missing, double or out of order. Of speakers in other virtual users, who cannot be asked what was
// acknowledged, it says whether any of their messages is missing between others.

import { read, write, type Mark } from "./mark.ts";
import * as measure from "./metrics.ts";
import type { Line, Said } from "./dialects.ts";
import type { Ledger, Person } from "./person.ts";
import { KNOWS_NODES, target } from "./sizes.ts";

interface Spoken {
  /** When it was first written, which is later than when it was said if its speaker was away. */
  at: number;
  /** How often it was written. */
  times: number;
  /** Its place, once acknowledged. */
  seq: number | null;
}

interface Told {
  /** Where the person first came in; what was before is none of its business. */
  from: number | null;
  /** The last place heard on the present socket, or said in its address. */
  last: number;
  heard: Set<number>;
}

export class Room implements Ledger {
  /** Our own, by the text. */
  private spoken = new Map<string, Spoken>();
  private ids = new Map<string, string>();
  /** What stands at each place, and the place of each, as anybody heard it. */
  private order = new Map<number, string>();
  private places = new Map<string, number>();
  private members = new Map<Person, Told>();
  private counts = new Map<string, number>();

  constructor(
    private bytes: number,
    /** For texts that all members of this virtual user have. */
    private door: string,
  ) {}

  has(person: Person): void {
    this.members.set(person, { from: null, last: 0, heard: new Set() });
  }

  isComplete(): boolean {
    return [...this.members.keys()].every((person) => person.wasHere);
  }

  /** The next thing to say for a member. */
  speak(person: Person): void {
    const { user } = person.seat;
    const count = (this.counts.get(user) ?? 0) + 1;
    this.counts.set(user, count);
    const mark = { speaker: user, count, at: Date.now(), node: person.seat.target };
    const text = write(mark, this.bytes);
    const id = `${user}-${count}`;
    this.spoken.set(text, { at: 0, times: 0, seq: null });
    this.ids.set(id, text);
    person.say(id, text);
  }

  connects(person: Person): void {
    this.told(person).last = place(person.position);
  }

  here(person: Person, said: Extract<Said, { kind: "here" }>): void {
    const told = this.told(person);
    told.from ??= place(said.position);
    for (const line of said.history) this.line(person, line, false);
    if (!said.resumed) told.last = place(said.position);
  }

  line(person: Person, { seq, text }: Line, isLive: boolean): void {
    const mark = read(text);
    if (!mark || seq === null) return;
    const told = this.told(person);
    const isNew = !told.heard.has(seq);
    // History is of what was before one came, in whatever order.
    if (told.from !== null && person.isHere && seq <= told.last) (isNew ? measure.disorder : measure.doubled).add(1);
    told.last = Math.max(told.last, seq);
    told.heard.add(seq);
    this.place(seq, text);
    if (isNew && isLive) this.time(person, mark, text);
  }

  written(_: Person, id: string): void {
    const spoken = this.spoken.get(this.ids.get(id)!)!;
    spoken.times += 1;
    if (spoken.times === 1) spoken.at = Date.now();
  }

  acked(_: Person, id: string, seq: number | null): void {
    const text = this.ids.get(id)!;
    this.spoken.get(text)!.seq = seq;
    if (seq !== null) this.place(seq, text);
  }

  isSettled(): boolean {
    return this.missing().length === 0;
  }

  judge(): void {
    let expected = 0;
    const missing = this.missing();
    for (const { from } of this.members.values()) {
      for (const { seq } of this.spoken.values()) expected += isFor(seq, from) ? 1 : 0;
    }
    // Who expected nothing has shown nothing.
    if (expected === 0) measure.delivered.add(false);
    for (let told = 0; told < expected - missing.length; told += 1) measure.delivered.add(true);
    for (const { seq, text, user } of missing) {
      measure.delivered.add(false);
      measure.lost.add(1);
      console.error(`${user} was never told ${text.slice(0, 60)}, acknowledged at ${seq}`);
    }
    for (const told of this.members.values()) measure.gaps.add(this.gapsOf(told));
    measure.gaps.add(this.missingCounts());
    measure.doubled.add(0);
    measure.disorder.add(0);
  }

  /** What was acknowledged and not told to somebody it was for. */
  private missing(): { seq: number; text: string; user: string }[] {
    const missing = [];
    for (const [text, { seq }] of this.spoken) {
      for (const [person, { from, heard }] of this.members) {
        if (isFor(seq, from) && !heard.has(seq!)) missing.push({ seq: seq!, text, user: person.seat.user });
      }
    }
    return missing;
  }

  private gapsOf({ from, heard }: Told): number {
    if (from === null) return 0;
    const end = [...heard].reduce((last, seq) => Math.max(last, seq), 0);
    return [...this.order.keys()].filter((seq) => seq > from && seq < end && !heard.has(seq)).length;
  }

  /** A speaker's messages are counted: one that nobody heard shows in those around it. */
  private missingCounts(): number {
    const counts = new Map<string, number[]>();
    for (const text of this.order.values()) {
      const { speaker, count } = read(text)!;
      const heard = counts.get(speaker) ?? [];
      heard.push(count);
      counts.set(speaker, heard);
    }
    return [...counts.values()].reduce((total, heard) => {
      const first = heard.reduce((least, count) => Math.min(least, count), Infinity);
      const last = heard.reduce((most, count) => Math.max(most, count), 0);
      return total + (last - first + 1 - new Set(heard).size);
    }, 0);
  }

  private place(seq: number, text: string): void {
    const other = this.order.get(seq);
    if (other !== undefined && other !== text) measure.disorder.add(1);
    const before = this.places.get(text);
    if (before !== undefined && before !== seq) measure.doubled.add(1);
    this.order.set(seq, text);
    this.places.set(text, seq);
  }

  private time(person: Person, mark: Mark, text: string): void {
    // What was said again took its time where it was not heard.
    const spoken = this.spoken.get(text);
    if (spoken && spoken.times !== 1) return;
    const isLocal = target(mark.node) === target(person.seat.target);
    const path = KNOWS_NODES ? (isLocal ? "local" : "remote") : this.door;
    measure.fanout.add(Date.now() - (spoken?.at ?? mark.at), { path, door: this.door });
  }

  private told(person: Person): Told {
    return this.members.get(person)!;
  }
}

const isFor = (seq: number | null, from: number | null) => seq !== null && from !== null && seq > from;

/** The place in `epoch-seq`. Clients need not know; who checks them does. */
function place(position: string | null): number {
  return position === null ? 0 : Number(position.slice(position.lastIndexOf("-") + 1));
}
