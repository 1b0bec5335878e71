// Who phoenix.js says is there, against who is there: after restarts, and while others come and go.
import assert from "node:assert/strict"
import { after, afterEach, before, beforeEach, describe, test } from "node:test"
import { answer } from "./client.mjs"
import { Server } from "./server.mjs"
import { until } from "./until.mjs"
import { CLIENTS } from "./versions.mjs"

let server
before(async () => { server = await Server.reference({ WORKERS: "2" }) })
after(() => server.stop())

let topics = 0
const fresh = () => `presence:${++topics}`

describe("the Presence of phoenix.js", { concurrency: 4 }, () => {
  for (const client of CLIENTS.filter(({ transport }) => transport === "WebSocket")) {
    describe(client.version, { concurrency: 1 }, () => suite(client))
  }
})

function suite({ Socket, Presence, options }) {
  let sockets
  beforeEach(() => { sockets = [] })
  afterEach(() => sockets.forEach(socket => socket.disconnect()))

  const connect = (at, more = {}) => {
    const socket = new Socket(at.mount("/socket"), { reconnectAfterMs: () => 20, rejoinAfterMs: () => 20, ...options, ...more })
    sockets.push(socket)
    socket.connect()
    return socket
  }

  // Joins a topic; `people` is who the page says is there: "key: status status".
  const enter = (socket, topic, user_id, status = "here") => {
    const channel = socket.channel(topic, { user_id, meta: { status } })
    const presence = new Presence(channel)
    const joined = answer(channel.join())
    const people = () => presence
      .list((key, { metas }) => `${key}: ${metas.map(meta => meta.status).sort().join(" ")}`)
      .sort()
    return { channel, joined, people }
  }

  test("after a restart a page shows what is said now, not what was said before", async () => {
    const own = await Server.reference()
    try {
      const ann = connect(own)
      const before = enter(ann, "presence:1", "ann", "phone")
      await until(before.people, ["ann: phone"])
      // phoenix.js connects again when it is let: after Ann, who has the place in the server that she had before
      let reconnectAfter = 3_600_000
      const socket = connect(own, { reconnectAfterMs: () => reconnectAfter })
      const bob = enter(socket, "presence:1", "bob")
      await until(bob.people, ["ann: phone", "bob: here"])
      ann.disconnect()
      await own.kill()
      await own.startAgain()
      const tablet = enter(connect(own), "presence:1", "ann", "tablet")
      await until(tablet.people, ["ann: tablet"])
      reconnectAfter = 20
      socket.disconnect()
      socket.connect()
      await until(bob.people, ["ann: tablet", "bob: here"])
      await until(tablet.people, ["ann: tablet", "bob: here"])
    } finally {
      await own.stop()
    }
  })

  test("whoever leaves as soon as they have come is on no page for good", async () => {
    // changes are gathered for 5 ms: some leave before they are told of, and pages open at any time between
    const within = (ms, act) => new Promise(done => setTimeout(() => done(act()), Math.random() * ms))
    for (let round = 0; round < 3; round++) {
      const topic = fresh()
      const passers = Array.from({ length: 40 }, () => connect(server))
      const readers = Array.from({ length: 16 }, () => connect(server))
      await until(() => [...passers, ...readers].every(socket => socket.isConnected()), true)
      const pages = readers.map((socket, n) => within(40, () => enter(socket, topic, `page ${n}`)))
      await Promise.all(passers.map((socket, n) => within(40, () => {
        enter(socket, topic, `passer ${n}`)
        return within(4, () => socket.disconnect())
      })))
      const there = readers.map((_, n) => `page ${n}: here`).sort()
      for (const page of await Promise.all(pages)) await until(page.people, there)
    }
  })
}
