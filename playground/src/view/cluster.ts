// The strip along the bottom: nodes, sockets, events a second. Looks every two seconds while anybody looks at the page.

import { Cluster, type NodeSeen, type Seen } from "../cluster";
import { h, part } from "../dom";
import { Problem } from "../rest";

const EVERY_MS = 2_000;
const POINTS = 30;

export class ClusterStrip {
  private readonly history: number[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly cluster: Cluster) {
    document.addEventListener("visibilitychange", () => this.begin());
    this.begin();
  }

  private begin(): void {
    clearTimeout(this.timer);
    if (document.visibilityState === "visible") void this.look();
  }

  private async look(): Promise<void> {
    try {
      this.show(await this.cluster.look());
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      part("cluster").replaceChildren(h("p", { text: problem.message }));
    }
    // Two may have been under way when the page came to the front.
    clearTimeout(this.timer);
    if (document.visibilityState === "visible") this.timer = setTimeout(() => void this.look(), EVERY_MS);
  }

  private show(seen: Seen): void {
    if (seen.rate !== null) this.history.push(seen.rate);
    if (this.history.length > POINTS) this.history.shift();
    const sockets = seen.connections;
    part("cluster").replaceChildren(
      seen.nodes === null
        ? h("p", { text: "Sign in to see the nodes." })
        : h("p", {}, figure(seen.nodes.length), seen.nodes.length === 1 ? " node" : " nodes"),
      h(
        "ul",
        { class: "nodes", "aria-label": "Sockets by node" },
        ...(seen.nodes ?? []).map((node) => chip(node, node.id === seen.answering)),
      ),
      ...(sockets === null ? [] : [h("p", {}, figure(sockets), sockets === 1 ? " socket" : " sockets")]),
      h("p", { class: "rate" }, figure(rate(seen.rate)), " events/s", this.line()),
      ...(seen.stale ? [h("p", { class: "warn", text: "Redis is away; these are the last known." })] : []),
    );
  }

  /** The last minute as a line. */
  private line(): Element {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    const line = document.createElementNS(space, "polyline");
    const most = Math.max(1, ...this.history);
    const points = this.history.map(
      (value, index) =>
        `${90 - ((this.history.length - 1 - index) * 90) / (POINTS - 1)},${(17 - (value / most) * 16).toFixed(1)}`,
    );
    line.setAttribute("points", points.join(" "));
    svg.setAttribute("viewBox", "0 0 90 18");
    svg.setAttribute("aria-hidden", "true");
    svg.append(line);
    return svg;
  }
}

function chip(node: NodeSeen, answering: boolean): HTMLElement {
  const about = [answering && "answers this page", node.draining && "draining"].filter(Boolean).join(", ");
  return h(
    "li",
    { class: answering ? "tag node answering" : "tag node", title: `${node.id}${about === "" ? "" : `: ${about}`}` },
    `${node.name || node.id.slice(0, 6)} `,
    figure(node.connections),
    node.draining ? " draining" : null,
  );
}

function figure(value: number | string): HTMLElement {
  return h("b", { text: String(value) });
}

function rate(value: number | null): string {
  if (value === null) return "–";
  return value < 10 ? value.toFixed(1) : Math.round(value).toString();
}
