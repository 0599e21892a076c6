// How the cluster does: its nodes, their sockets, and how many events a second go through. The node counts events since
// it began; a rate is made of two counts, some seconds apart because other nodes' counts come with their beats.

import { Problem, ask } from "./rest";

export interface NodeSeen {
  id: string;
  name: string;
  connections: number;
  draining: boolean;
}

export interface Seen {
  /** `null`: the node says that only to who has a token. */
  nodes: NodeSeen[] | null;
  /** The one that answered. */
  answering: string;
  connections: number | null;
  /** Events a second; `null` until there are two counts. */
  rate: number | null;
  /** Redis is away, so these are the last known. */
  stale: boolean;
}

export interface Status {
  node_id: string;
  nodes: { node_id: string; name: string; connections: number; draining: boolean }[];
  connections: number;
  redis: string;
  database: string;
}

interface Health {
  node_id: string;
  total_events_routed: number;
  stale?: boolean;
}

/** Over how long a rate is taken. */
const WINDOW_MS = 10_000;

export class Rate {
  private counts: { at: number; count: number }[] = [];

  /** Takes a count in, and says the rate. */
  next(at: number, count: number): number | null {
    const last = this.counts.at(-1);
    // It began anew, or another node answered that knows less: what was counted before says nothing.
    if (last !== undefined && count < last.count) this.counts = [];
    this.counts.push({ at, count });
    this.counts = this.counts.filter(
      (_, index, all) => index === all.length - 1 || all[index + 1]!.at >= at - WINDOW_MS,
    );
    const first = this.counts[0]!;
    return at === first.at ? null : ((count - first.count) * 1000) / (at - first.at);
  }
}

export class Cluster {
  private readonly rate = new Rate();

  constructor(private readonly token: string | null) {}

  async look(): Promise<Seen> {
    const [health, status] = await Promise.all([ask<Health>("GET", "/health"), this.status()]);
    return {
      nodes: status?.nodes.map(({ node_id, ...node }) => ({ id: node_id, ...node })) ?? null,
      answering: status?.node_id ?? health.node_id,
      connections: status?.connections ?? null,
      rate: this.rate.next(Date.now(), health.total_events_routed),
      stale: health.stale ?? false,
    };
  }

  private async status(): Promise<Status | null> {
    try {
      return await ask<Status>("GET", "/status", { token: this.token });
    } catch (problem) {
      if (problem instanceof Problem && problem.status === 401) return null;
      throw problem;
    }
  }
}
