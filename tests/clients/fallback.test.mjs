// longPollFallbackMs: where WebSockets do not get through, phoenix.js goes on by long poll.
import assert from "node:assert/strict"
import { after, afterEach, before, describe, test } from "node:test"
import { answer } from "./client.mjs"
import { Proxy } from "./proxy.mjs"
import { Server } from "./server.mjs"
import { has, load, VERSIONS } from "./versions.mjs"

let server, proxy, sockets = []
before(async () => { server = await Server.reference() })
after(() => server.stop())
afterEach(async () => {
  for (const socket of sockets) socket.disconnect()
  sockets = []
  await proxy.stop()
})

async function echoes({ Socket }, mount, options) {
  const socket = new Socket(proxy.mount(mount), { longPollFallbackMs: 200, reconnectAfterMs: () => 20, ...options })
  sockets.push(socket)
  socket.connect()
  const channel = socket.channel(mount === "/auth" ? "room:1" : "ref:1", {})
  // Before 1.8.16 a join that the WebSocket took along is only tried again when it has timed out.
  const response = await new Promise(resolve => channel.join(400).receive("ok", resolve))
  if (mount === "/auth") return response
  assert.deepEqual(await answer(channel.push("echo", { n: 1 })), { status: "ok", response: { n: 1 } })
}

const kinds = () => [...new Set(proxy.seen)].sort()
const POLLS = ["GET /socket/longpoll", "POST /socket/longpoll"]

for (const version of VERSIONS) {
  describe(`phoenix.js ${version}`, {
    skip: !has(version, "fallback") && `phoenix.js ${version} has no longPollFallbackMs`,
  }, () => {
    for (const [webSockets, what] of [["refuse", "are refused"], ["hang", "are never answered"]]) {
      test(`falls back to long poll where WebSockets ${what}, and remembers it`, async () => {
        proxy = await Proxy.start(server, webSockets)
        const client = load(version)
        await echoes(client, "/socket")
        assert.deepEqual(kinds(), [...POLLS, "UPGRADE /socket/websocket"])
        proxy.seen = []
        await echoes(client, "/socket")
        assert.deepEqual(kinds(), POLLS)
      })
    }

    test("falls back to long poll where WebSockets open, but let nothing through", async () => {
      proxy = await Proxy.start(server, "swallow")
      await echoes(load(version), "/socket")
      assert.deepEqual(kinds(), [...POLLS, "UPGRADE /socket/websocket"])
    })

    test("takes its auth token along", { skip: !has(version, "authToken") && `phoenix.js ${version} has no authToken` }, async () => {
      proxy = await Proxy.start(server, "refuse")
      const joined = await echoes(load(version), "/auth", { authToken: "secret-1", params: { user_id: "ann" } })
      assert.deepEqual(joined, { user_id: "ann", token: "secret-1" })
    })

    test("stays with a WebSocket that works", async () => {
      proxy = await Proxy.start(server, "pass")
      await echoes(load(version), "/socket")
      await new Promise(done => setTimeout(done, 300))
      assert.deepEqual(proxy.seen, ["UPGRADE /socket/websocket"])
    })
  })
}
