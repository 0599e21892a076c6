// The account of a code room: one types, and the others must end with what was typed last. Texts on the way there may
// be left out, for a newer one takes the place of an older one that a socket was not yet told; none may come after a
// newer.

import type { Line } from "./dialects.ts";
import { read, write } from "./mark.ts";
import * as measure from "./metrics.ts";
import type { Ledger, Person } from "./person.ts";

export class Texts implements Ledger {
  private count = 0;
  private writes = new Map<number, { first: number; times: number }>();
  private taken = 0;
  /** The newest text that each of the others knows. */
  private known = new Map<Person, number>();

  constructor(
    private typist: Person["seat"],
    private bytes: number,
    private door: string,
  ) {}

  has(person: Person): void {
    if (person.seat !== this.typist) this.known.set(person, 0);
  }

  type(person: Person): void {
    this.count += 1;
    const mark = { speaker: this.typist.user, count: this.count, at: Date.now(), node: person.seat.target };
    person.say(String(this.count), write(mark, this.bytes));
  }

  connects(): void {}

  here(): void {}

  line(person: Person, { text }: Line, isLive: boolean): void {
    const mark = read(text);
    const known = this.known.get(person);
    if (!mark || known === undefined) return;
    if (mark.count < known) measure.disorder.add(1);
    const written = this.writes.get(mark.count);
    if (mark.count > known && isLive && written?.times === 1) {
      measure.fanout.add(Date.now() - written.first, { path: this.door, door: this.door });
    }
    this.known.set(person, Math.max(known, mark.count));
  }

  written(_: Person, id: string): void {
    const written = this.writes.get(Number(id)) ?? { first: Date.now(), times: 0 };
    this.writes.set(Number(id), { ...written, times: written.times + 1 });
  }

  acked(_: Person, id: string): void {
    this.taken = Math.max(this.taken, Number(id));
  }

  isSettled(): boolean {
    return [...this.known.values()].every((known) => known >= this.taken);
  }

  judge(): void {
    for (const [{ seat }, known] of this.known) {
      const isTold = this.taken > 0 && known >= this.taken;
      measure.delivered.add(isTold);
      measure.lost.add(isTold ? 0 : 1);
      if (!isTold) console.error(`${seat.user} knows text ${known}, and ${this.taken} was acknowledged`);
    }
    measure.disorder.add(0);
  }
}
