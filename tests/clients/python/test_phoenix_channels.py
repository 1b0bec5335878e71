"""phoenix-channels-python-client speaks both versions of the protocol.

Joins always carry {}, and there is no method to push: a program does it by the public protocol handler. In version 2 the
client takes only messages with the join_ref of its own join: a broadcast has it when it was intercepted, and the answer
about a topic without a channel has none.
"""

import asyncio
import itertools
import logging
import unittest

from phoenix_channels_python_client import PhoenixChannelsProtocolVersion, PHXChannelsClient, ReconnectPolicy
from phoenix_channels_python_client.exceptions import PHXConnectionError, PHXTopicError
from phoenix_channels_python_client.utils import make_message
from server import Server

PAYLOAD = {"text": "火の鳥 🔥", "list": [1, -2.5, None, True], "nested": {"": {}}}
TIMEOUT = 10
SOON = ReconnectPolicy(
    base_delay_s=0.02, max_delay_s=0.1, rapid_disconnect_uptime_s=0,
    service_restart_min_delay_s=0.02, service_restart_max_delay_s=0.05,
)

numbers = itertools.count(1000)


def setUpModule():
    global server
    server = Server()
    logging.getLogger("phoenix_channels_python_client").setLevel(logging.CRITICAL)


def tearDownModule():
    server.stop()


class Topic:
    """A subscribed topic and what came on it."""

    def __init__(self, client, name):
        self.client, self.name = client, name
        self.messages = asyncio.Queue()

    async def push(self, event, payload, ref=None):
        join_ref = self.client.get_current_subscriptions()[self.name].join_ref
        message = make_message(event, self.name, ref, payload, join_ref)
        await self.client.get_protocol_handler().send_message(self.client.connection, message)

    async def ask(self, event, payload):
        ref = str(next(numbers))
        await self.push(event, payload, ref)
        event, message = await self.next()
        assert (event, message.ref) == ("phx_reply", ref), message
        return message.payload

    async def next(self):
        message = await asyncio.wait_for(self.messages.get(), TIMEOUT)
        return str(message.event), message

    async def next_payload(self):
        event, message = await self.next()
        return event, message.payload


class Both:
    async def connect(self, mount="/socket", at=None, **options):
        client = PHXChannelsClient(
            (at or server).url(mount), "key-1",
            protocol_version=self.version, reconnect_policy=SOON, leave_timeout_s=TIMEOUT, **options,
        )
        await self.enterAsyncContext(client)
        return client

    async def subscribe(self, client, name):
        topic = Topic(client, name)
        await client.subscribe_to_topic(name, topic.messages.put)
        return topic

    async def room(self, name=None, **options):
        return await self.subscribe(await self.connect(**options), name or f"ref:{next(numbers)}")

    async def test_pushes_are_replied_to_with_success_and_failure(self):
        room = await self.room()
        for event, status in (("echo", "ok"), ("echo_error", "error"), ("async_echo", "ok")):
            self.assertEqual(await room.ask(event, PAYLOAD), {"status": status, "response": PAYLOAD})

    async def test_a_push_of_the_server_reaches_its_client_alone(self):
        ann = await self.room()
        bob = await self.room(ann.name)
        await ann.push("push", PAYLOAD)
        self.assertEqual(await ann.next_payload(), ("pushed", PAYLOAD))
        await bob.ask("echo", {})
        self.assertTrue(bob.messages.empty())

    async def test_a_broadcast_reaches_both_clients(self):
        name = f"room:{next(numbers)}"
        ann = await self.room(name, mount="/auth")
        bob = await self.room(name, mount="/auth")
        await ann.push("shout", {"text": "火の鳥"})
        for topic in (ann, bob):
            event, payload = await topic.next_payload()
            self.assertEqual((event, payload["text"]), ("shout", "火の鳥"))

    async def test_several_topics_live_on_one_socket(self):
        client = await self.connect()
        rooms = [await self.subscribe(client, f"ref:{next(numbers)}") for _ in range(5)]
        for n, room in enumerate(rooms):
            self.assertEqual((await room.ask("echo", {"n": n}))["response"], {"n": n})
        self.assertTrue(all(room.messages.empty() for room in rooms))

    async def test_a_topic_without_a_channel_is_refused(self):
        client = await self.connect(join_timeout_s=0.5)
        with self.assertRaisesRegex(PHXTopicError, self.unmatched):
            await client.subscribe_to_topic("nothing:1")
        self.assertEqual((await (await self.subscribe(client, "ref:1")).ask("echo", {}))["status"], "ok")

    async def test_after_leaving_nothing_more_comes_and_the_topic_can_be_joined_again(self):
        name = f"room:{next(numbers)}"
        ann = await self.room(name, mount="/auth")
        bob = await self.room(name, mount="/auth")
        await ann.client.unsubscribe_from_topic(name)
        await bob.push("shout", {"n": 1})
        self.assertEqual((await bob.next_payload())[1]["n"], 1)
        again = await self.subscribe(ann.client, name)
        await bob.push("shout", {"n": 2})
        self.assertEqual((await again.next_payload())[1]["n"], 2)
        seen = [ann.messages.get_nowait() for _ in range(ann.messages.qsize())]
        self.assertEqual([message for message in seen if str(message.event) == "shout"], [])

    async def test_a_crashed_channel_is_joined_again_by_itself(self):
        room = await self.room()
        joined = room.client.get_current_subscriptions()[room.name].join_ref
        await room.push("crash", {})
        async with asyncio.timeout(TIMEOUT):
            while True:
                now = room.client.get_current_subscriptions()[room.name].join_ref
                if now != joined and room.client.is_topic_joined(room.name):
                    break
                await asyncio.sleep(0.01)
        self.assertEqual((await room.ask("echo", {}))["status"], "ok")

    async def test_after_the_server_is_killed_or_told_to_stop_the_client_comes_back(self):
        own = Server()
        self.addCleanup(lambda: own.stop())
        back = asyncio.Queue()

        async def reconnected():
            await back.put(True)

        room = await self.room("ref:1", at=own, on_reconnect=reconnected)
        for end in (own.kill, own.stop):
            await asyncio.to_thread(end)
            own.start_again()
            await asyncio.wait_for(back.get(), TIMEOUT)
            self.assertEqual((await room.ask("echo", {"n": 1}))["response"], {"n": 1})

    async def test_heartbeats_are_answered_and_keep_the_socket_open(self):
        acknowledged, disconnects = [], []

        async def disconnected(error):
            disconnects.append(error)

        room = await self.room(
            mount="/idle", heartbeat_interval_s=0.2, heartbeat_dead_threshold_s=0.6,
            on_heartbeat_ack=lambda: acknowledged.append(1), on_disconnect=disconnected,
        )
        await asyncio.sleep(1.5)  # /idle closes what is silent for 0.7 s
        self.assertEqual((await room.ask("echo", {}))["status"], "ok")
        self.assertGreaterEqual(len(acknowledged), 4)
        self.assertEqual(disconnects, [])

    async def test_connect_params_and_headers_arrive(self):
        room = await self.room(f"room:{next(numbers)}", mount="/auth")
        self.assertEqual((await room.ask("params", {}))["response"], {"api_key": "key-1"})
        by_header = await self.room(room.name, mount="/auth", additional_headers={"x-auth-token": "t"})
        self.assertEqual((await by_header.ask("params", {}))["response"], {})
        self.assertIn(["x-auth-token", "t"], (await by_header.ask("whoami", {}))["response"]["x_headers"])

    async def test_a_refused_connection_raises(self):
        url = server.url("/auth") + "?deny=true"
        with self.assertRaisesRegex(PHXConnectionError, "403"):
            async with PHXChannelsClient(url, "key-1", protocol_version=self.version):
                pass


class Version1(Both, unittest.IsolatedAsyncioTestCase):
    version = PhoenixChannelsProtocolVersion.V1
    unmatched = "unmatched topic"

    async def test_a_plain_broadcast_reaches_both_clients_or_all_but_the_sender(self):
        ann = await self.room()
        bob = await self.room(ann.name)
        await ann.push("bcast_from", {"n": 1})
        await ann.push("bcast", {"n": 2})
        self.assertEqual(await bob.next_payload(), ("bcast_from", {"n": 1}))
        for topic in (ann, bob):
            self.assertEqual(await topic.next_payload(), ("bcast", {"n": 2}))


class Version2(Both, unittest.IsolatedAsyncioTestCase):
    version = PhoenixChannelsProtocolVersion.V2
    unmatched = "Timed out"


if __name__ == "__main__":
    unittest.main()
