"""Real PostgreSQL: a server in a folder of its own, and as many empty databases as tests want."""

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from itertools import count
from pathlib import Path
from urllib.parse import quote

import psycopg

from .deadline import PATIENCE, eventually
from .processes import Child, free_port

USER = "collabd"
# Every character that means something in a URL; none of it may stand in a log.
PASSWORD = "canary:pa/ss?w@rd"
# Room for the pools of many nodes at once.
MAX_CONNECTIONS = 400


def programs():
    """Where the newest server's programs are: Debian keeps those of every version beside each other, off PATH."""
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "postgres").exists()]
    if versions:
        return max(versions, key=lambda path: float(path.parent.name))
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    raise AssertionError("postgresql is not installed (`make test` does that)")


class Postgres(Child):
    """A server on its own port. With `durable`, what it acknowledged outlives the machine, too."""

    def __init__(self, durable=False):
        self.port = free_port()
        self.programs = programs()
        # It refuses to run as root.
        self.as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "max_connections": MAX_CONNECTIONS,
            "fsync": "on" if durable else "off",
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        # The socket is below its folder, too, with the data.
        arguments = [self.programs / "postgres", "-D", "data", "-k", ".", *settings]
        super().__init__("postgres", [*self.as_user, *arguments], {"LC_ALL": "C.UTF-8"})
        self.numbers = count(1)

    def start(self):
        if not (self.folder / "data").exists():
            self._make()
        self.spawn()
        eventually(self._answers, "postgres answers")
        return self

    def _make(self):
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if self.as_user:
            for path in (self.folder, secret):
                shutil.chown(path, "postgres", "postgres")
        made = subprocess.run(
            [
                *self.as_user,
                self.programs / "initdb",
                *["-D", "data", "--username", USER, "--pwfile", "password", "--auth", "scram-sha-256"],
                *["--encoding", "UTF8", "--no-locale", "--no-sync"],
            ],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert made.returncode == 0, made.stderr

    def _answers(self):
        if not self.alive:
            raise AssertionError(f"postgres ended:\n{self.log()}")
        with suppress(psycopg.OperationalError):
            return self.execute("SELECT 1")

    @property
    def url(self):
        """Of the database that is always there."""
        return self.url_of("postgres")

    def url_of(self, database):
        return f"postgres://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{database}"

    def database(self):
        """A new, empty database; many tests share a server this way."""
        name = f"test_{next(self.numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return Database(self.url_of(name))

    def execute(self, statement, *values):
        return Database(self.url).execute(statement, *values)

    def stop(self):
        """Ends it at once, and in order: SIGTERM would wait until everybody had gone."""
        self.signal(signal.SIGINT)
        self.process.wait(PATIENCE)

    def kill(self):
        """As a crash, of all its processes: SIGKILL would leave them to find out that they are alone."""
        if self.alive:
            self.signal(signal.SIGQUIT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE)
        super().kill()


class Database:
    """What a node has written; `?` stands for a value, as with `Sqlite`."""

    def __init__(self, url):
        self.url = url

    def execute(self, statement, *values):
        with psycopg.connect(self.url, connect_timeout=5, autocommit=True) as connection:
            answer = connection.execute(statement.replace("?", "%s"), values)
            return answer.fetchall() if answer.description else []
