"""Nodes with a database, alone or as a cluster."""

from dataclasses import dataclass


@dataclass
class Place:
    """Nodes that keep the same records, and their database; with more than one, perhaps their Redis."""

    nodes: list
    database: object
    redis: object = None

    @property
    def north(self):
        return self.nodes[0]

    @property
    def south(self):
        return self.nodes[-1]

    def stop(self, how="terminate"):
        """All nodes, and with them what is kept nowhere but between them."""
        for node in self.nodes:
            getattr(node, how)()
        if self.redis:
            self.redis.client.flushall()

    def start(self):
        for node in self.nodes:
            node.start()
