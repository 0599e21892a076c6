"""A matchmaker that publishes at a steady pace, and again whatever the broker did not confirm."""

import threading
import time
from collections import deque

import pika

from .deadline import eventually
from .rabbit import found, message

# Between two portions of events.
STEP = 0.02
# A broker takes its time to start on a busy machine.
PATIENCE = 90


class Matchmaker:
    """Publishes `number` events for the sessions `word-0`, `word-1` and so on, many of them unconfirmed at once. What is
    counted as `sent` the broker has taken over."""

    def __init__(self, rabbit, queue, word, number, rate=1_000):
        self.parameters, self.queue, self.word, self.number = rabbit.parameters(), queue, word, number
        self.portion = int(rate * STEP)
        self.waiting = deque(range(number))
        self.unconfirmed = {}
        self.sent = 0
        self.trouble = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def after(self, number):
        """Waits until so many are confirmed, and more are under way."""
        self._wait(lambda: self.sent >= number, f"{number} events are published")

    def join(self):
        self._wait(lambda: self.sent == self.number, "all events are published")
        self.thread.join()

    def _wait(self, done, what):
        eventually(lambda: self.trouble or done(), what, within=PATIENCE)
        assert not self.trouble, self.trouble

    def _run(self):
        try:
            while self.sent < self.number:
                self._connect()
                # What was not confirmed may be there all the same: it comes twice then.
                self.waiting.extend(self.unconfirmed.values())
                self.unconfirmed = {}
                time.sleep(STEP)
        except BaseException as trouble:
            self.trouble = trouble
            raise

    def _connect(self):
        """Publishes until everything is confirmed or the broker is gone."""
        loop_ends = lambda connection, _why: connection.ioloop.stop()
        connection = pika.SelectConnection(
            self.parameters,
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._opened),
            on_open_error_callback=loop_ends,
            on_close_callback=loop_ends,
        )
        connection.ioloop.start()

    def _opened(self, channel):
        channel.confirm_delivery(
            lambda frame: self._confirmed(channel, frame.method),
            callback=lambda _frame: self._publish(channel, 1),
        )

    def _publish(self, channel, tag):
        if not channel.is_open:
            return
        for _ in range(min(self.portion, len(self.waiting))):
            number = self.unconfirmed[tag] = self.waiting.popleft()
            channel.basic_publish("", self.queue, *message(found(f"{self.word}-{number}")))
            tag += 1
        channel.connection.ioloop.call_later(STEP, lambda: self._publish(channel, tag))

    def _confirmed(self, channel, method):
        last = method.delivery_tag
        tags = [tag for tag in self.unconfirmed if tag <= last] if method.multiple else [last]
        numbers = [self.unconfirmed.pop(tag) for tag in tags]
        if isinstance(method, pika.spec.Basic.Ack):
            self.sent += len(numbers)
        else:
            self.waiting.extend(numbers)
        if self.sent == self.number:
            channel.connection.close()
