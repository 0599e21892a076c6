"""A real HAProxy that deals every request to the next node, whoever it is from."""

import socket
from contextlib import suppress

from .deadline import eventually
from .processes import Child, free_port

CONFIG = """
global
  maxconn 4000
defaults
  mode http
  timeout connect 2s
  timeout client 75s
  timeout server 75s
  timeout tunnel 1h
  retries 3
  option redispatch
frontend clients
  bind 127.0.0.1:{port}
  default_backend nodes
backend nodes
  balance roundrobin
  option http-server-close
  option httpchk GET /lb
  default-server check inter 200ms fall 1 rise 1 observe layer4 error-limit 1 on-error mark-down
{servers}
"""


class Balancer(Child):
    def __init__(self, nodes):
        self.host, self.port = "127.0.0.1", free_port()
        super().__init__("haproxy", ["haproxy", "-db", "-f", "haproxy.cfg"], {})
        servers = (f"  server n{number} 127.0.0.1:{node.port}" for number, node in enumerate(nodes))
        config = CONFIG.format(port=self.port, servers="\n".join(servers))
        (self.folder / "haproxy.cfg").write_text(config)

    def start(self):
        self.spawn()
        eventually(self._listens, "haproxy listens")
        return self

    def _listens(self):
        if not self.alive:
            raise AssertionError(f"haproxy ended:\n{self.log()}")
        with suppress(OSError), socket.create_connection((self.host, self.port), 1):
            return True
