"""Exact shapes of frames: plain dictionaries whose unknown values are matchers."""

import re


class Matcher:
    """Equals whatever its test accepts, so that whole frames compare with `==`."""

    def __init__(self, name, accepts):
        self.name = name
        self.accepts = accepts

    def __eq__(self, other):
        return bool(self.accepts(other))

    def __repr__(self):
        return f"<{self.name}>"


def _number(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _text(pattern):
    whole = re.compile(pattern)
    return lambda value: isinstance(value, str) and whole.fullmatch(value)


TIME = Matcher("RFC 3339 UTC with milliseconds", _text(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"))
NUMBER = Matcher("whole number", _number)
MILLIS = Matcher("milliseconds of this century", lambda value: _number(value) and 1.6e12 < value < 4.1e12)
POSITION = Matcher("epoch-seq", _text(r".+-\d+"))
STRING = Matcher("string", lambda value: isinstance(value, str))
WORDS = Matcher("sentence", lambda value: isinstance(value, str) and len(value) > 8)


def joined(user, name=None):
    return {
        "type": "user_joined",
        "user_id": user,
        "username": name or user,
        "seq": NUMBER,
        "timestamp": TIME,
    }


def left(user):
    return {"type": "user_left", "user_id": user, "seq": NUMBER, "timestamp": TIME}


def code_update(user, code, version=NUMBER):
    return {
        "type": "code_update",
        "user_id": user,
        "code": code,
        "version": version,
        "seq": NUMBER,
        "timestamp": TIME,
    }


def cursor_move(user, line, column, **code):
    cursor = {"lineNumber": line, "column": column}
    return {"type": "cursor_move", "user_id": user, "cursor": cursor, "timestamp": TIME} | code


def language_change(user, language):
    return {
        "type": "language_change",
        "user_id": user,
        "language": language,
        "seq": NUMBER,
        "timestamp": TIME,
    }


def chat_message(user, text, name=None):
    return {
        "type": "chat_message",
        "user_id": user,
        "username": name or user,
        "text": text,
        "id": STRING,
        "seq": NUMBER,
        "timestamp": TIME,
    }


def ack(command, seq=NUMBER):
    return {"type": "ack", "id": command, "seq": seq, "position": POSITION, "timestamp": TIME}


def code_ack(version, **command):
    shape = {"type": "code_ack", "version": version, "seq": NUMBER, "position": POSITION, "timestamp": TIME}
    return shape | command


def error(code, **more):
    return {"type": "error", "code": code, "message": WORDS, "timestamp": TIME} | more


def unavailable(**command):
    return error("backplane_unavailable", retry_in_ms=NUMBER, **command)


def present(user, name=None, cursor=None):
    return {"user_id": user, "username": name or user, "cursor": cursor, "status": "active"}
