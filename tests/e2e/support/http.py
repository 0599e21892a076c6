"""REST with the standard library: one request, one answer with what tests look at."""

import http.client
import json
from contextlib import suppress
from dataclasses import dataclass

from .deadline import PATIENCE


@dataclass
class Answer:
    status: int
    headers: dict
    text: str

    @property
    def json(self):
        return json.loads(self.text)

    @property
    def kind(self):
        """The content type without its parameters."""
        return self.headers.get("content-type", "").split(";")[0]


def request(host, port, method, path, body=None, headers=None, timeout=PATIENCE, source=None):
    """`body` is sent as it is when bytes, else as JSON; `source` is another address of this machine to come from.
    Header names of the answer are in lower case."""
    headers = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    source = (source, 0) if source else None
    connection = http.client.HTTPConnection(host, port, timeout=timeout, source_address=source)
    try:
        # Who is refused for a long body is answered before it is out; the answer is there all the same.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        text = response.read().decode()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, text)
    finally:
        connection.close()


def assert_problem(answer, status, code=None, field=None):
    """The answer is the documented error document, no more and no less."""
    assert answer.status == status, answer
    assert answer.kind == "application/problem+json", answer
    problem = answer.json
    required = {"type", "title", "status", "detail", "code"}
    assert required <= set(problem) <= required | {"field"}, problem
    assert problem["status"] == status
    assert problem["title"] and problem["detail"], problem
    if code is not None:
        assert problem["code"] == code, problem
    if field is not None:
        assert problem.get("field") == field, problem
    return problem
