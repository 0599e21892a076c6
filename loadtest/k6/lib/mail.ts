// The account of couriers: every event that was acknowledged is in the inbox of each recipient, and told to each, once,
// in the order of that inbox, without a hole.

import { check } from "k6";
import type { Line } from "./dialects.ts";
import { read, write } from "./mark.ts";
import * as measure from "./metrics.ts";
import type { Ledger, Person } from "./person.ts";

interface Letter {
  text: string;
  to: Person[];
  /** Of the first write. */
  at: number;
  times: number;
  isTaken: boolean;
}

interface Inbox {
  /** The last place heard on the present socket. */
  last: number;
  places: Map<number, string>;
  texts: Map<string, number>;
}

export class Mail implements Ledger {
  private letters = new Map<string, Letter>();
  private inboxes = new Map<Person, Inbox>();
  private count = 0;

  has(person: Person): void {
    this.inboxes.set(person, { last: 0, places: new Map(), texts: new Map() });
  }

  send(from: Person, to: Person[]): void {
    this.count += 1;
    const { user, target } = from.seat;
    const text = write({ speaker: user, count: this.count, at: Date.now(), node: target });
    const id = `${user}-${this.count}`;
    this.letters.set(id, { text, to, at: 0, times: 0, isTaken: false });
    from.say(id, text, to.map((person) => person.seat.user).join(","));
  }

  connects(person: Person): void {
    // What was told and not noted as told is told again, to whoever comes back.
    this.inbox(person).last = 0;
  }

  here(): void {}

  line(person: Person, { seq, text }: Line, isLive: boolean): void {
    const mark = read(text);
    if (!mark || seq === null) return;
    const inbox = this.inbox(person);
    const isNew = !inbox.places.has(seq);
    if (seq <= inbox.last) (isNew ? measure.disorder : measure.doubled).add(1);
    if (inbox.texts.has(text) && inbox.texts.get(text) !== seq) measure.doubled.add(1);
    inbox.last = Math.max(inbox.last, seq);
    inbox.places.set(seq, text);
    inbox.texts.set(text, seq);
    const letter = this.letters.get(`${mark.speaker}-${mark.count}`);
    if (isNew && isLive && letter?.times === 1) {
      measure.fanout.add(Date.now() - letter.at, { path: "courier", door: "courier" });
    }
  }

  written(_: Person, id: string): void {
    const letter = this.letters.get(id)!;
    letter.times += 1;
    if (letter.times === 1) letter.at = Date.now();
  }

  acked(_: Person, id: string, _seq: number | null, counts?: [number, number]): void {
    this.letters.get(id)!.isTaken = true;
    check(counts, { "told or kept for all": (given) => given !== undefined && given[0] === given[1] });
  }

  isSettled(): boolean {
    return this.each().every(({ isTold }) => isTold);
  }

  judge(): void {
    const all = this.each();
    if (all.length === 0) measure.delivered.add(false);
    for (const { text, user, isTold } of all) {
      measure.delivered.add(isTold);
      measure.lost.add(isTold ? 0 : 1);
      if (!isTold) console.error(`${user} was never told ${text}`);
    }
    for (const { places } of this.inboxes.values()) {
      const end = [...places.keys()].reduce((last, seq) => Math.max(last, seq), 0);
      // These users are new: their inboxes begin at 1.
      measure.gaps.add(end - places.size);
    }
    measure.doubled.add(0);
    measure.disorder.add(0);
  }

  /** Every acknowledged letter, for each of its recipients. */
  private each(): { text: string; user: string; isTold: boolean }[] {
    return [...this.letters.values()]
      .filter(({ isTaken }) => isTaken)
      .flatMap(({ text, to }) =>
        to.map((person) => ({ text, user: person.seat.user, isTold: this.inbox(person).texts.has(text) })),
      );
  }

  private inbox(person: Person): Inbox {
    return this.inboxes.get(person)!;
  }
}
