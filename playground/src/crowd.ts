// The people of a session as they come, go and change: brings together what the node tells of members and what is in
// awareness, draws the list when something changed, and settles who has which colour.

import { colourOf, freeColour } from "./colours";
import type { Member } from "./doors/talk";
import { caretOf } from "./editor/cursors";
import { people, type Person } from "./people";
import { presenceIn } from "./presence";
import type { SharedDocument } from "./text/document";

export class Crowd {
  private due = false;
  /** As people have them now; who has left is drawn in what would be theirs. */
  private readonly colours = new Map<string, string>();

  constructor(
    private readonly own: string,
    private readonly shared: SharedDocument,
    private readonly members: ReadonlyMap<string, Member>,
    private readonly does: {
      draw: (people: Person[]) => void;
      /** Somebody has another colour than before. */
      coloured: () => void;
      /** One's own is to be this one. */
      wear: (colour: string) => void;
    },
  ) {
    this.listen();
  }

  colour(user: string): string {
    return this.colours.get(user) ?? colourOf(user);
  }

  /** To the document that there is now. */
  listen(): void {
    this.shared.awareness.on("change", () => {
      this.settle();
      this.soon();
    });
    this.soon();
  }

  /** Many changes at once are drawn once. */
  soon(): void {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.draw();
    });
  }

  private draw(): void {
    const { awareness, text } = this.shared;
    const awake = [...awareness.getStates()].map(([client, state]) => ({
      client,
      presence: presenceIn(state),
      hasCaret: caretOf(state, text) !== null,
    }));
    const rows = people(this.members.values(), awake, { id: this.own, client: awareness.clientID });
    const changed = rows.filter(({ key, colour }) => this.colours.get(key) !== colour);
    for (const { key, colour } of changed) this.colours.set(key, colour);
    if (changed.length > 0) this.does.coloured();
    this.does.draw(rows);
  }

  /** Of two with one colour, the one with the higher number takes another. */
  private settle(): void {
    const { awareness } = this.shared;
    const all = [...awareness.getStates()].map(([client, state]) => ({ client, ...presenceIn(state) }));
    const worn = all.find(({ client }) => client === awareness.clientID)?.colour;
    const others = all.filter(({ id }) => id !== this.own);
    if (!others.some(({ client, colour }) => colour === worn && client < awareness.clientID)) return;
    const free = freeColour(others.map(({ colour }) => colour));
    if (free !== null) this.does.wear(free);
  }
}
