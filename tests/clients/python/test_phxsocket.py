"""phxsocket speaks version 1 of the protocol, with numbers for refs."""

import itertools
import queue
import unittest

import phxsocket
from phxsocket.channel import ChannelConnectError
from server import Server

PAYLOAD = {"text": "火の鳥 🔥", "list": [1, -2.5, None, True], "nested": {"": {}}}
TIMEOUT = 10

topics = (f"ref:{n}" for n in itertools.count())


def setUpModule():
    global server
    server = Server()


def tearDownModule():
    server.stop()


class PhxSocket(unittest.TestCase):
    def connect(self, mount="/socket", **params):
        client = phxsocket.Client(server.url(mount), params)
        self.assertTrue(client.connect())
        self.addCleanup(client.close)
        return client

    def join(self, topic, *events, payload=None):
        """A channel, what its join was answered with, and a queue of what it received of these events."""
        channel = self.connect().channel(topic, payload or {})
        received = queue.Queue()
        for event in events:
            channel.on(event, lambda payload, event=event: received.put((event, payload)))
        return channel, channel.join(), received

    def ask(self, channel, event, payload):
        sent = channel.push(event, payload, reply=True)
        self.assertTrue(sent.event.wait(TIMEOUT), f"no reply to {event}")
        return sent.message

    def test_a_join_is_answered_with_what_it_joined_with(self):
        _, answer, _ = self.join(next(topics), payload=PAYLOAD)
        self.assertEqual(answer, {"echo": PAYLOAD})

    def test_pushes_are_replied_to_with_success_and_failure(self):
        channel, _, _ = self.join(next(topics))
        for event, status in (("echo", "ok"), ("echo_error", "error"), ("async_echo", "ok")):
            self.assertEqual(self.ask(channel, event, PAYLOAD), {"status": status, "response": PAYLOAD})

    def test_many_pushes_get_each_its_own_reply(self):
        channel, _, _ = self.join(next(topics))
        sent = [channel.push("async_echo", {"n": n}, reply=True) for n in range(100)]
        for n, message in enumerate(sent):
            self.assertTrue(message.event.wait(TIMEOUT))
            self.assertEqual(message.message["response"], {"n": n})

    def test_a_broadcast_reaches_both_clients(self):
        topic = next(topics)
        ann, _, for_ann = self.join(topic, "bcast")
        _, _, for_bob = self.join(topic, "bcast")
        ann.push("bcast", PAYLOAD)
        for received in (for_ann, for_bob):
            self.assertEqual(received.get(timeout=TIMEOUT), ("bcast", PAYLOAD))

    def test_broadcast_from_reaches_the_other_and_a_push_the_sender(self):
        topic = next(topics)
        ann, _, for_ann = self.join(topic, "bcast_from", "pushed")
        bob, _, for_bob = self.join(topic, "bcast_from", "pushed")
        ann.push("bcast_from", {"n": 1})
        self.assertEqual(for_bob.get(timeout=TIMEOUT), ("bcast_from", {"n": 1}))
        ann.push("push", {"n": 2})
        self.assertEqual(for_ann.get(timeout=TIMEOUT), ("pushed", {"n": 2}))
        self.ask(bob, "echo", {})
        self.assertTrue(for_ann.empty() and for_bob.empty())

    def test_refused_joins_are_told_their_reason(self):
        client = self.connect()
        for topic, payload, reason in (
            (next(topics), {"deny": True}, "denied"),
            (next(topics), {"crash": True}, "join crashed"),
            ("nothing:1", {}, "unmatched topic"),
        ):
            with self.assertRaises(ChannelConnectError) as raised:
                client.channel(topic, payload).join()
            self.assertEqual(raised.exception.args, ({"reason": reason},))
        self.assertEqual(client.channel(next(topics)).join(), {"echo": {}})

    def test_a_crash_is_told_and_the_socket_lives_on(self):
        channel, _, received = self.join(next(topics), "phx_error")
        channel.push("crash", {})
        self.assertEqual(received.get(timeout=TIMEOUT), ("phx_error", {"reason": "channel_crash"}))
        self.assertEqual(channel.join(), {"echo": {}})

    def test_leaving_closes_the_channel_and_nothing_more_comes(self):
        topic = next(topics)
        ann, _, for_ann = self.join(topic, "bcast")
        bob, _, for_bob = self.join(topic, "bcast")
        closed = queue.Queue()
        ann.on_close = lambda: closed.put(True)
        ann.leave()  # what it returns is of no use: it asks the reply for a method that does not exist
        self.assertTrue(closed.get(timeout=TIMEOUT))
        bob.push("bcast", {"n": 1})
        self.assertEqual(for_bob.get(timeout=TIMEOUT), ("bcast", {"n": 1}))
        self.assertEqual(ann.join(), {"echo": {}})
        bob.push("bcast", {"n": 2})
        self.assertEqual(for_ann.get(timeout=TIMEOUT), ("bcast", {"n": 2}))

    def test_presence_of_two_users_comes_and_goes(self):
        topic = next(topics).replace("ref", "presence")
        ann = self.connect().channel(topic, {"user_id": "ann"})
        diffs = queue.Queue()
        ann.on("presence_diff", diffs.put)
        ann.on("presence_state", diffs.put)
        ann.join()
        self.assertEqual(set(diffs.get(timeout=TIMEOUT)["joins"]), {"ann"})
        self.assertEqual(set(diffs.get(timeout=TIMEOUT)), {"ann"})
        bob = self.connect()
        bob.channel(topic, {"user_id": "bob"}).join()
        self.assertEqual(set(diffs.get(timeout=TIMEOUT)["joins"]), {"bob"})
        bob.channel(topic).leave()
        self.assertEqual(set(diffs.get(timeout=TIMEOUT)["leaves"]), {"bob"})

    def test_connect_params_arrive(self):
        channel = self.connect("/auth", user_id="火の鳥 & co").channel("room:1")
        self.assertEqual(channel.join(), {"user_id": "火の鳥 & co", "token": None})
        self.assertEqual(self.ask(channel, "params", {})["response"], {"user_id": "火の鳥 & co"})

    def test_a_refused_connection_raises(self):
        with self.assertRaisesRegex(Exception, "403"):
            phxsocket.Client(server.url("/auth"), {"deny": "true"}).connect()

    def test_heartbeats_keep_the_socket_open(self):
        client = phxsocket.Client(server.url("/idle"))
        client.heartbeat_interval = 0.2
        closed = queue.Queue()
        client.on_close = lambda client: closed.put(True)
        client.connect()
        self.addCleanup(client.close)
        with self.assertRaises(queue.Empty):  # /idle closes what is silent for 0.7 s
            closed.get(timeout=1.5)


if __name__ == "__main__":
    unittest.main()
