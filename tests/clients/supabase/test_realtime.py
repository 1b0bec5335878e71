"""The Python client of Supabase Realtime speaks version 1 of the protocol, with join_ref null throughout."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import pathlib
import re
import subprocess
import time
import unittest

from realtime import AsyncRealtimeClient, RealtimeSubscribeStates

ROOT = pathlib.Path(__file__).resolve().parents[3]
SECRET = "a secret of the tests, with more than 32 bytes"
TEXT = "ひ🐦é\u2028\"\\"
# far above what a busy machine needs
PATIENCE = 30


def token(seconds=3600, **claims):
    """A key or an access token, good for so many seconds."""

    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    claims = {"role": "anon", "exp": int(time.time()) + seconds, **claims}
    text = b".".join(part(json.dumps(value).encode()) for value in ({"alg": "HS256", "typ": "JWT"}, claims))
    return (text + b"." + part(hmac.digest(SECRET.encode(), text, hashlib.sha256))).decode()


def granting(*channels, seconds=3600):
    return token(seconds, role="authenticated", realtime=list(channels))


async def until(read, expected):
    """Waits until `read` gives what is expected, and fails with what it gave last."""
    deadline = time.monotonic() + PATIENCE
    while (seen := read()) != expected:
        if time.monotonic() > deadline:
            raise AssertionError(f"expected {expected!r}, got {seen!r}")
        await asyncio.sleep(0.02)


class Server:
    def __init__(self, port=0):
        binary = ROOT / os.environ.get("SUPABASE_REALTIME_BIN", "target/debug/supabase-realtime")
        environment = {**os.environ, "HOST": "127.0.0.1", "PORT": str(port), "JWT_SECRET": SECRET}
        self.process = subprocess.Popen(
            [binary], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        match = re.search(r"listening on http://(\S+)", self.process.stdout.readline())
        assert match, f"{binary} ended before it listened"
        self.address = match[1]
        self.port = int(self.address.rpartition(":")[2])

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Channel:
    """A channel that remembers what it was told."""

    def __init__(self, client, name, config, *, has_presence=False):
        self.states, self.errors, self.heard = [], [], []
        self.channel = client.channel(name, {"config": config})
        self.channel.on_broadcast("*", self._broadcast)
        if has_presence:
            self.channel.on_presence_sync(lambda: None)

    def _broadcast(self, message):
        self.heard.append((message["event"], message["payload"]))

    async def subscribe(self):
        def told(state, error):
            self.states.append(state)
            if error:
                self.errors.append(str(error))

        await self.channel.subscribe(told)
        await until(lambda: len(self.states) > 0, True)
        return self

    def present(self):
        """Who is there: by key, what each tracks, without refs."""
        state = self.channel.presence_state()
        bare = lambda meta: {name: value for name, value in meta.items() if name != "presence_ref"}
        return {key: [bare(meta) for meta in metas] for key, metas in state.items()}


class Realtime(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()

    async def client(self, key=None, server=None):
        url = f"http://{(server or self.server).address}/realtime/v1"
        client = AsyncRealtimeClient(url, key or token(), max_retries=50, initial_backoff=0.05)
        await client.connect()
        self.addAsyncCleanup(client.close)
        return client

    async def channel(self, name, config=None, *, client=None, **more):
        channel = Channel(client or await self.client(), name, config or {}, **more)
        await channel.subscribe()
        self.assertEqual((channel.states, channel.errors), ([RealtimeSubscribeStates.SUBSCRIBED], []))
        return channel

    async def test_broadcasts_reach_others_and_the_sender_if_it_wants_that(self):
        every = await self.channel("room", {"broadcast": {"ack": True, "self": True}})
        others = await self.channel("room")
        await every.channel.send_broadcast("a", {TEXT: [TEXT, None, 1.5]})
        await others.channel.send_broadcast("b", {"n": 2})
        await until(lambda: sorted(every.heard), [("a", {TEXT: [TEXT, None, 1.5]}), ("b", {"n": 2})])
        await every.channel.send_broadcast("c", {})
        await until(lambda: others.heard, [("a", {TEXT: [TEXT, None, 1.5]}), ("c", {})])

    async def test_a_topic_has_any_text(self):
        one, other = [await self.channel(f"room {TEXT}") for _ in range(2)]
        await one.channel.send_broadcast(TEXT, {"n": 1})
        await until(lambda: other.heard, [(TEXT, {"n": 1})])

    async def test_it_sees_who_comes_changes_and_goes(self):
        ann = await self.channel("presence", {"presence": {"key": "ann"}}, has_presence=True)
        bobs = await self.client()
        bob = await self.channel("presence", {"presence": {"key": "bob"}}, client=bobs, has_presence=True)
        await ann.channel.track({"at": TEXT})
        await bob.channel.track({"at": 1})
        for each in (ann, bob):
            await until(each.present, {"ann": [{"at": TEXT}], "bob": [{"at": 1}]})
        await bob.channel.track({"at": 1})
        await bob.channel.track({"now": 2})
        late = await self.channel("presence", has_presence=True)
        for each in (ann, bob, late):
            await until(each.present, {"ann": [{"at": TEXT}], "bob": [{"now": 2}]})
        await ann.channel.untrack()
        await until(late.present, {"bob": [{"now": 2}]})
        await bobs.close()
        for each in (ann, late):
            await until(each.present, {})

    async def test_private_channels_are_for_those_whose_token_grants_them(self):
        client = await self.client()
        await client.set_auth(granting("secret:*"))
        inside = await self.channel("secret:1", {"private": True}, client=client)
        opposite_client = await self.client(granting("secret:1"))
        opposite = await self.channel("secret:1", {"private": True}, client=opposite_client)
        outside = await self.channel("secret:1", {"broadcast": {"self": True}})
        await inside.channel.send_broadcast("e", {"inside": True})
        await outside.channel.send_broadcast("e", {"inside": False})
        await until(lambda: opposite.heard, [("e", {"inside": True})])
        await until(lambda: outside.heard, [("e", {"inside": False})])
        refused = await Channel(await self.client(), "secret:1", {"private": True}).subscribe()
        self.assertEqual(refused.states[0], RealtimeSubscribeStates.CHANNEL_ERROR)
        self.assertIn("Unauthorized", refused.errors[0])

    async def test_a_token_is_renewed_or_ends_the_channel(self):
        renews, ends = await self.client(), await self.client()
        for client in (renews, ends):
            await client.set_auth(granting("secret", seconds=2))
        stays = await self.channel("secret", {"private": True}, client=renews)
        await renews.set_auth(granting("secret"))
        closed = await self.channel("secret", {"private": True}, client=ends)
        # this client passes a system message with an error on as an error of the channel
        await until(lambda: len(closed.errors), 1)
        self.assertRegex(closed.errors[0], r"Token has expired \d+ seconds ago")
        self.assertIn('"channel": "secret"', closed.errors[0])
        await until(lambda: RealtimeSubscribeStates.CLOSED in closed.states, True)
        self.assertEqual(stays.states, [RealtimeSubscribeStates.SUBSCRIBED])

    async def test_it_sends_by_http(self):
        hears = await self.channel("http/é%")
        sends = Channel(await self.client(), "http/é%", {}).channel
        await sends.http_send(f"a/b {TEXT}", {"n": 1})
        # this client speaks version 1, which has no bytes
        await sends.http_send("bytes", b"\0\xff")
        await sends.http_send("last", {})
        await until(lambda: hears.heard, [(f"a/b {TEXT}", {"n": 1}), ("last", {})])

    async def test_it_is_back_after_the_server_was_killed(self):
        server = Server()
        try:
            one, other = [
                await self.channel("room", client=await self.client(server=server)) for _ in range(2)
            ]
            server.kill()
            server = Server(server.port)
            deadline = time.monotonic() + PATIENCE
            while not other.heard:
                self.assertLess(time.monotonic(), deadline, "nothing is heard after the restart")
                await one.channel.send_broadcast("back", {})
                await asyncio.sleep(0.1)
            self.assertEqual(other.heard[0], ("back", {}))
        finally:
            server.kill()


if __name__ == "__main__":
    unittest.main()
