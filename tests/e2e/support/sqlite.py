"""A look into the SQLite file of a node that runs."""

import sqlite3
from contextlib import closing

from .deadline import PATIENCE


class Sqlite:
    """Takes the statements that `Database` of PostgreSQL takes."""

    def __init__(self, path):
        self.path = path

    def execute(self, statement, *values):
        with closing(sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)) as connection:
            return connection.execute(statement, values).fetchall()
