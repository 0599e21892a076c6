"""Nodes with a database, alone or as a cluster."""

from dataclasses import dataclass

from .sqlite import Sqlite
from .tokens import SECRET

# Between savings of texts: so that a test need not wait.
SOON = 0.2


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


def place_of(kind, request, children, **settings):
    """A node alone with SQLite, `open` or with tokens; or a `cluster` of two with Redis and PostgreSQL."""
    settings = {"HOST": "127.0.0.1", "SAVE_INTERVAL": SOON} | settings
    if kind != "open":
        settings["JWT_SECRET"] = SECRET
    if kind != "cluster":
        node = children.node(kind, **settings)
        return Place([node], Sqlite(node.folder / "collabd.db"))
    redis, database = children.redis(), request.getfixturevalue("postgres").database()
    settings |= {"REDIS_URL": redis.url, "DATABASE_URL": database.url}
    return Place([children.node(name, **settings) for name in ("north", "south")], database, redis)
