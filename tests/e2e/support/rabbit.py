"""Real RabbitMQ: a broker in a folder of its own, with its own port mapper, that may be stopped, killed and started again."""

import json
import logging
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from .deadline import PATIENCE, eventually
from .processes import Child, free_port
from .topologies import certify

USER = "collabd"
# Every character that means something in a URL; none of it may stand in a log.
PASSWORD = "canary:pa/ss?w@rd"
QUEUE = "collaboration_events"
DEAD = f"{QUEUE}.dead"
# An empty machine starts it in four seconds; one that is built on beside takes three times as long.
STARTING = 2 * PATIENCE
# Not through Debian's wrapper, which would start it as another user, in another folder.
PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

# Its client tells every failed try at length, while one waits for a broker to start.
logging.getLogger("pika").setLevel(logging.CRITICAL)


class Rabbit(Child):
    """A broker on free ports. What was confirmed as persistent outlives a stop, a kill and a start."""

    def __init__(self, tls=False):
        """With `tls` it speaks that on `tls_port`, too; `ca` vouches for it."""
        if not PROGRAM.exists():
            raise AssertionError("rabbitmq-server is not installed (`make test` does that)")
        self.port, mapper_port, self.tls_port = free_port(), free_port(), free_port()
        environment = {
            "LC_ALL": "C.UTF-8",
            # The shell that would stay in front of it is for terminals.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_NODENAME": f"collabd{self.port}@localhost",
            "RABBITMQ_DIST_PORT": free_port(),
            "ERL_EPMD_PORT": mapper_port,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            # It shares two cores: schedulers that spin while they wait would take one.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
        }
        super().__init__("rabbit", [PROGRAM], environment)
        places = {
            "HOME": self.folder,
            "RABBITMQ_MNESIA_BASE": self.folder / "data",
            "RABBITMQ_LOG_BASE": self.folder / "log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.folder / "plugins",
            "RABBITMQ_CONFIG_FILE": self.folder / "rabbit.conf",
        }
        self.environment |= {name: str(path) for name, path in places.items()}
        # Erlang would start it by itself, and leave it behind.
        arguments = ["epmd", "-port", mapper_port, "-address", "127.0.0.1"]
        self.mapper = Child("epmd", arguments, {}, self.folder)
        (self.folder / "plugins").write_text("[].\n")
        settings = {"listeners.tcp.1": f"127.0.0.1:{self.port}", "default_user": USER, "default_pass": PASSWORD}
        if tls:
            self.ca = certify(self.folder, "127.0.0.1")
            settings["listeners.ssl.1"] = f"127.0.0.1:{self.tls_port}"
            for name, file in ("certfile", "server.pem"), ("keyfile", "server.key"), ("cacertfile", "ca.pem"):
                settings[f"ssl_options.{name}"] = str(self.folder / file)
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        (self.folder / "rabbit.conf").write_text("".join(lines))

    @property
    def url(self):
        return f"amqp://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/%2F"

    @property
    def tls_url(self):
        return f"amqps://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.tls_port}"

    def start(self):
        self.launch()
        eventually(self._answers, "rabbitmq answers", within=STARTING, every=0.1)
        return self

    def launch(self):
        """Begins to start it, without waiting for that."""
        if not self.mapper.alive:
            self.mapper.spawn()
        self.spawn()

    def _answers(self):
        if not self.alive:
            raise AssertionError(f"rabbitmq ended:\n{self.log()}")
        with suppress(AMQPError, OSError), self.open():
            return True

    def stop(self):
        """In order; it tells whoever is connected."""
        self.terminate(STARTING)

    def kill(self):
        """As a crash of the whole machine."""
        super().kill()
        self.mapper.kill()

    def restart(self):
        self.stop()
        self.start()

    def parameters(self):
        login = pika.PlainCredentials(USER, PASSWORD)
        return pika.ConnectionParameters("127.0.0.1", self.port, credentials=login, heartbeat=0, socket_timeout=5)

    @contextmanager
    def open(self):
        """A channel whose publications are confirmed, or raise."""
        connection = pika.BlockingConnection(self.parameters())
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel
        finally:
            with suppress(AMQPError):
                connection.close()

    def publish(self, *events, queue=QUEUE, **properties):
        """Events as they are when bytes, else as JSON; back when all are confirmed."""
        with self.open() as channel:
            for event in events:
                publish(channel, event, queue, **properties)

    def ready(self, queue=QUEUE):
        """Messages that nobody has taken; `None` when there is no such queue."""
        return self._declared(queue, lambda method: method.message_count)

    def consumers(self, queue=QUEUE):
        return self._declared(queue, lambda method: method.consumer_count)

    def _declared(self, queue, figure):
        with self.open() as channel:
            try:
                return figure(channel.queue_declare(queue, passive=True).method)
            except ChannelClosedByBroker as error:
                assert error.reply_code == 404, error
                return None

    def take(self, queue=DEAD):
        """All messages of the queue, as (properties, body), in order; they are gone then."""
        found = []
        with self.open() as channel:
            while True:
                method, properties, body = channel.basic_get(queue, auto_ack=True)
                if method is None:
                    return found
                found.append((properties, body))


def publish(channel, event, queue=QUEUE, **properties):
    channel.basic_publish("", queue, *message(event, **properties), mandatory=True)


def message(event, **properties):
    """Body and properties."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return body, pika.BasicProperties(**{"delivery_mode": 2, "content_type": "application/json"} | properties)


def found(session, users=("ann", "bob"), **fields):
    """A match event as the matchmaker writes it."""
    return {
        "event_type": "match.found",
        "session_id": session,
        "users": list(users),
        "question_id": "two-sum",
        "difficulty": "easy",
        "topic": "arrays",
    } | fields
