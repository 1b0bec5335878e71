// Each phoenix.js that people have does all that it can, over WebSocket and over long poll.
import assert from "node:assert/strict"
import { after, afterEach, before, beforeEach, describe, test } from "node:test"
import { answer } from "./client.mjs"
import { Server } from "./server.mjs"
import { until } from "./until.mjs"
import { CLIENTS, has } from "./versions.mjs"

const ok = response => ({ status: "ok", response })
const error = response => ({ status: "error", response })
const denied = error({ reason: "denied" })
const unmatched = error({ reason: "unmatched topic" })
const soon = () => 20

let server
before(async () => { server = await Server.reference() })
after(() => server.stop())

let topics = 0
const fresh = kind => `${kind}:${++topics}`

/** Sockets of one version over one transport, that know how to end. */
class Sockets {
  #open = new Set()
  constructor(client) { this.client = client }

  connect(path = "/socket", options = {}, at = server) {
    const socket = new this.client.Socket(at.mount(path), {
      reconnectAfterMs: soon, rejoinAfterMs: soon, ...this.client.options, ...options,
    })
    this.#open.add(socket)
    socket.connect()
    return socket
  }

  disconnectAll() {
    for (const socket of this.#open) socket.disconnect()
    this.#open.clear()
  }
}

/** A joined channel that keeps what it received of some events. */
class Room {
  joins = []
  errors = 0
  closes = 0
  received = []

  constructor(socket, topic, payload, events) {
    this.socket = socket
    this.channel = socket.channel(topic, payload)
    this.channel.onError(() => { this.errors++ })
    this.channel.onClose(() => { this.closes++ })
    for (const event of events) this.channel.on(event, payload => this.received.push([event, payload]))
  }

  static async join(socket, topic, payload = {}, events = ["bcast", "bcast_from", "pushed"]) {
    const room = new Room(socket, topic, payload, events)
    const first = await answer(room.channel.join().receive("ok", response => room.joins.push(response)))
    assert.equal(first.status, "ok", JSON.stringify(first))
    return room
  }

  push(event, payload = {}) { return answer(this.channel.push(event, payload)) }
  send(event, payload = {}) { this.channel.push(event, payload) }
  get connected() { return this.socket.isConnected() }
}

const PAYLOAD = { text: "火の鳥 🔥 \u0000\u2028", list: [1, -2.5, null, true], nested: { "": {}, "__proto__x": [] } }
const bytes = (...values) => new Uint8Array(values).buffer
const plain = data => data instanceof ArrayBuffer ? [...new Uint8Array(data)] : data

describe("phoenix.js", { concurrency: 8 }, () => {
  for (const client of CLIENTS) {
    const { version, transport } = client
    const web = transport === "WebSocket"
    describe(`${version} over ${transport}`, { concurrency: 1 }, () => suite(client, web))
  }
})

function suite(client, web) {
  const { version, Presence } = client
  /** The reason to skip what a version has no means for, or false. */
  const lacks = (feature, reason) => !has(version, feature) && `phoenix.js ${version} ${reason}`

  let sockets
  beforeEach(() => { sockets = new Sockets(client) })
  afterEach(() => sockets.disconnectAll())

  const two = async (topic, events) =>
    Promise.all([Room.join(sockets.connect(), topic, {}, events), Room.join(sockets.connect(), topic, {}, events)])

  test("joins, and is answered with what it joined with", async () => {
    const room = await Room.join(sockets.connect(), fresh("ref"), PAYLOAD)
    assert.deepEqual(room.joins, [{ echo: PAYLOAD }])
  })

  test("gets each reply, of success and of failure, at once or later, to the push that asked", async () => {
    const room = await Room.join(sockets.connect(), fresh("ref"))
    const replies = await Promise.all([
      room.push("echo", PAYLOAD), room.push("echo_error", PAYLOAD), room.push("async_echo", { n: 1 }),
      room.push("reply_ok"), room.push("reply_error"),
    ])
    assert.deepEqual(replies, [ok(PAYLOAD), error(PAYLOAD), ok({ n: 1 }), ok({}), error({})])
    assert.equal((await answer(room.channel.push("noreply", {}, 50))).status, "timeout")
    assert.deepEqual(await room.push("echo", { still: "here" }), ok({ still: "here" }))
  })

  test("250 pushes at once are each answered", async () => {
    const room = await Room.join(sockets.connect(), fresh("ref"))
    const payloads = Array.from({ length: 250 }, (_, n) => ({ n, text: "火".repeat(n) }))
    assert.deepEqual(await Promise.all(payloads.map(payload => room.push("echo", payload))), payloads.map(ok))
    assert.deepEqual([room.joins.length, room.errors], [1, 0])
  })

  test("a broadcast reaches both clients of a topic, and nobody of another", async () => {
    const [ann, bob] = await two(fresh("ref"))
    const other = await Room.join(sockets.connect(), fresh("ref"))
    ann.send("bcast", PAYLOAD)
    for (const room of [ann, bob]) await until(() => room.received, [["bcast", PAYLOAD]])
    await other.push("echo")
    assert.deepEqual(other.received, [])
  })

  test("50 broadcasts of each of two clients come to both, once, in the order of their sender", async () => {
    const [ann, bob] = await two(fresh("ref"))
    for (let n = 0; n < 50; n++) {
      ann.send("bcast", { from: "ann", n })
      bob.send("bcast", { from: "bob", n })
    }
    // Before 1.7 long poll sends all at once, in requests of their own: they may overtake each other on their way.
    const inOrder = web || has(version, "batches")
    for (const room of [ann, bob]) {
      await until(() => room.received.length, 100)
      for (const sender of ["ann", "bob"]) {
        const seen = room.received.filter(([, { from }]) => from === sender).map(([, { n }]) => n)
        if (!inOrder) seen.sort((a, b) => a - b)
        assert.deepEqual(seen, Array.from({ length: 50 }, (_, n) => n))
      }
    }
  })

  test("broadcast_from reaches the other client and not the sender, a push the sender alone", async () => {
    const [ann, bob] = await two(fresh("ref"))
    ann.send("bcast_from", { n: 1 })
    await until(() => bob.received, [["bcast_from", { n: 1 }]])
    ann.send("push", { n: 2 })
    await until(() => ann.received, [["pushed", { n: 2 }]])
    await bob.push("echo")
    assert.deepEqual(bob.received, [["bcast_from", { n: 1 }]])
  })

  test("several channels live on one socket", async () => {
    const socket = sockets.connect()
    const rooms = await Promise.all(Array.from({ length: 5 }, (_, n) => Room.join(socket, fresh("ref"), { n })))
    assert.deepEqual(rooms.map(room => room.joins[0]), [0, 1, 2, 3, 4].map(n => ({ echo: { n } })))
    rooms[3].send("bcast", { n: 3 })
    await until(() => rooms[3].received.length, 1)
    await rooms[4].channel.leave()
    assert.deepEqual(await rooms[0].push("echo", { n: 0 }), ok({ n: 0 }))
    assert.deepEqual(rooms.map(room => room.received.length), [0, 0, 0, 1, 0])
  })

  test("is told why a join is refused, crashes or finds no channel, and the socket lives on", async () => {
    const socket = sockets.connect()
    const room = await Room.join(socket, fresh("ref"))
    for (const [topic, payload, expected] of [
      [fresh("ref"), { deny: true }, denied],
      [fresh("ref"), { crash: true }, error({ reason: "join crashed" })],
      [fresh("nothing"), {}, unmatched],
      ["", {}, unmatched],
    ]) {
      const channel = socket.channel(topic, payload)
      assert.deepEqual(await answer(channel.join()), expected)
      channel.leave()
    }
    assert.deepEqual(await room.push("echo", { n: 1 }), ok({ n: 1 }))
    assert.equal(room.joins.length, 1)
  })

  test("a refused join is tried again, and taken once the server agrees", async () => {
    const payload = { deny: true }
    const channel = sockets.connect().channel(fresh("ref"), () => ({ ...payload }))
    let refusals = 0
    const joined = new Promise(resolve => channel.join()
      .receive("error", () => { if (++refusals === 2) delete payload.deny })
      .receive("ok", resolve))
    assert.deepEqual(await joined, { echo: {} })
    assert.equal(refusals, 2)
  })

  test("a crash of the channel is told, and the channel joins again by itself", async () => {
    const socket = sockets.connect()
    const topic = fresh("ref")
    const [room, other] = [await Room.join(socket, topic, { n: 1 }), await Room.join(socket, fresh("ref"))]
    for (let crashes = 1; crashes <= 2; crashes++) {
      room.send("crash")
      await until(() => [room.errors, room.joins.length], [crashes, crashes + 1])
    }
    assert.deepEqual(room.joins[2], { echo: { n: 1 } })
    room.send("bcast", { n: 2 })
    await until(() => room.received, [["bcast", { n: 2 }]])
    assert.deepEqual([other.errors, other.joins.length, room.closes], [0, 1, 0])
  })

  test("a channel that the server stops is closed and not joined again", async () => {
    const socket = sockets.connect()
    const [room, last] = [await Room.join(socket, fresh("ref")), await Room.join(socket, fresh("ref"))]
    room.send("stop")
    await until(() => room.closes, 1)
    assert.deepEqual(await last.push("stop_reply", { n: 1 }), ok({ n: 1 }))
    await until(() => last.closes, 1)
    const again = await Room.join(socket, room.channel.topic)
    assert.deepEqual(await again.push("echo"), ok({}))
    for (const { errors, joins } of [room, last]) assert.deepEqual([errors, joins.length], [0, 1])
  })

  test("after leaving nothing more comes, and the topic can be joined again", async () => {
    const [ann, bob] = await two(fresh("ref"))
    assert.deepEqual(await answer(ann.channel.leave()), ok({}))
    assert.deepEqual([ann.closes, ann.errors], [1, 0])
    bob.send("bcast", { n: 1 })
    await until(() => bob.received.length, 1)
    const again = await Room.join(ann.socket, ann.channel.topic)
    bob.send("bcast", { n: 2 })
    await until(() => again.received, [["bcast", { n: 2 }]])
    assert.deepEqual(ann.received, [])
  })

  test("heartbeats are answered, so the socket stays open", {
    skip: !web && "phoenix.js sends no heartbeats over long poll",
  }, async () => {
    const room = await Room.join(sockets.connect("/idle", { heartbeatIntervalMs: 300 }), fresh("ref"))
    let closes = 0
    room.socket.onClose(() => closes++)
    // /idle closes what is silent for 700 ms.
    await new Promise(done => setTimeout(done, 1_600))
    assert.deepEqual(await room.push("echo"), ok({}))
    assert.deepEqual([closes, room.joins.length], [0, 1])
  })

  test("polls without messages follow each other for as long as the page is open", {
    skip: web && "a WebSocket does not poll",
  }, async () => {
    const room = await Room.join(sockets.connect("/idle"), fresh("ref"))
    // The windows of /idle are 600 ms, and it ends sessions that nobody polls.
    await new Promise(done => setTimeout(done, 2_500))
    assert.deepEqual(await room.push("echo"), ok({}))
    assert.deepEqual([room.joins.length, room.errors], [1, 0])
  })

  test("sends and gets binary, with replies, pushes and broadcasts, next to JSON on one topic", {
    skip: web ? lacks("binary", "encodes JSON only") : "binary comes over WebSocket only",
  }, async () => {
    const [ann, bob] = await two(fresh("ref"), ["bcast", "bin_bcast", "bin_pushed"])
    for (const data of [[], [0, 1, 127, 128, 255], Array.from({ length: 70_000 }, (_, n) => n % 256)]) {
      const { status, response } = await ann.push("bin", bytes(...data))
      assert.ok(response instanceof ArrayBuffer)
      assert.deepEqual([status, plain(response)], ["ok", data])
    }
    ann.send("bin_push", bytes(9))
    await until(() => ann.received.map(([event, data]) => [event, plain(data)]), [["bin_pushed", [9]]])
    ann.send("bcast", { n: 1 })
    ann.send("bin_bcast", bytes(1, 2, 3))
    const both = [["bcast", { n: 1 }], ["bin_bcast", [1, 2, 3]]]
    await until(() => bob.received.map(([event, data]) => [event, plain(data)]), both)
    await until(() => ann.received.length, 3)
  })

  test("binary reaches the server, and what it cannot send back does no harm", {
    skip: web ? "over WebSocket it can" : lacks("batches", "sends binary over WebSocket only"),
  }, async () => {
    const topic = fresh("ref")
    const room = await Room.join(sockets.connect(), topic)
    const webSocket = CLIENTS.find(other => other.version === version && other.transport === "WebSocket")
    const peers = new Sockets(webSocket)
    try {
      const peer = await Room.join(peers.connect(), topic, {}, ["bin_bcast"])
      const data = [0, 1, 10, 13, 91, 123, 255]
      room.send("bin_bcast", bytes(...data))
      await until(() => peer.received.map(([event, data]) => [event, plain(data)]), [["bin_bcast", data]])
      room.send("bin", bytes(...data))
      room.send("bin_push", bytes(...data))
      assert.deepEqual(await room.push("echo", { n: 1 }), ok({ n: 1 }))
      assert.deepEqual([room.joins.length, room.errors], [1, 0])
    } finally {
      peers.disconnectAll()
    }
  })

  // Who is there, as this version's Presence class has it: "key: status status".
  const people = presence => presence
    .list((key, { metas }) => `${key}: ${metas.map(meta => meta.status).join(" ")}`)
    .sort()

  async function enter(topic, user_id, status, path = "/socket") {
    const socket = sockets.connect(path, { heartbeatIntervalMs: 300 })
    const channel = socket.channel(topic, { user_id, meta: { status } })
    const presence = new Presence(channel)
    const log = []
    presence.onJoin((key, before, joined) => log.push(`+${key} ${before ? "again" : "new"} ${joined.metas.length}`))
    presence.onLeave((key, left) => log.push(`-${key} ${left.metas.length ? "stays" : "gone"}`))
    assert.deepEqual(await answer(channel.join()), ok({}))
    return { socket, channel, presence, log }
  }

  test("two users see each other come, change and leave", async () => {
    const topic = fresh("presence")
    const ann = await enter(topic, "ann", "here")
    await until(() => people(ann.presence), ["ann: here"])
    const bob = await enter(topic, "bob", "here")
    for (const { presence } of [ann, bob]) await until(() => people(presence), ["ann: here", "bob: here"])

    assert.deepEqual(await answer(bob.channel.push("update_meta", { status: "away" })), ok({}))
    for (const { presence } of [ann, bob]) await until(() => people(presence), ["ann: here", "bob: away"])

    const phone = await enter(topic, "bob", "phone")
    for (const { presence } of [ann, bob, phone]) await until(() => people(presence), ["ann: here", "bob: away phone"])

    await answer(phone.channel.leave())
    for (const { presence } of [ann, bob]) await until(() => people(presence), ["ann: here", "bob: away"])
    await answer(bob.channel.leave())
    await until(() => people(ann.presence), ["ann: here"])
    assert.deepEqual(ann.log.filter(line => line.includes("bob")).filter(line => /^-/.test(line)).at(-1), "-bob gone")
    assert.ok(ann.log.includes("+bob new 1"))
    assert.ok(ann.log.includes("-bob stays"))
  })

  test("a user whose channel crashes is back, once, and one whose socket goes away is gone", async () => {
    const topic = fresh("presence")
    // Over long poll a closed page is noticed after up to three windows, which are short on /idle.
    const [ann, bob] = [await enter(topic, "ann", "here", "/idle"), await enter(topic, "bob", "here", "/idle")]
    await until(() => people(ann.presence), ["ann: here", "bob: here"])
    bob.channel.push("no such event", {})
    await until(() => ann.log.filter(line => /bob new|bob gone/.test(line)), ["+bob new 1", "-bob gone", "+bob new 1"])
    for (const { presence } of [ann, bob]) await until(() => people(presence), ["ann: here", "bob: here"])
    bob.socket.disconnect()
    await until(() => people(ann.presence), ["ann: here"])
    assert.deepEqual(await answer(ann.channel.push("list", {})).then(({ response }) => Object.keys(response)), ["ann"])
  })

  for (const [how, signal] of [["is killed", "SIGKILL"], ["is told to stop", "SIGTERM"]]) {
    test(`after the server ${how} and starts again, the client is back on its topics`, async () => {
      const own = await Server.reference()
      try {
        const room = await Room.join(sockets.connect("/socket", {}, own), "ref:1", { n: 1 })
        const there = await enterAt(own, "ann")
        await until(() => people(there.presence), ["ann: here"])
        await own.stop(signal)
        await until(() => room.errors > 0 && !room.connected, true)
        await own.startAgain()
        await until(() => room.joins, [{ echo: { n: 1 } }, { echo: { n: 1 } }])
        assert.deepEqual(await room.push("echo", PAYLOAD), ok(PAYLOAD))
        room.send("bcast", { n: 2 })
        await until(() => room.received, [["bcast", { n: 2 }]])
        await until(() => people(there.presence), ["ann: here"])
      } finally {
        sockets.disconnectAll()
        await own.stop()
      }
    })
  }

  async function enterAt(at, user_id) {
    const channel = sockets.connect("/socket", {}, at).channel("presence:1", { user_id, meta: { status: "here" } })
    const presence = new Presence(channel)
    await answer(channel.join())
    return { channel, presence }
  }

  test("connect params arrive as the maps that they are", async () => {
    const params = { user: { id: 1, tags: ["a", "b"] }, name: "火の鳥 & co=?", flag: true }
    const room = await Room.join(sockets.connect("/auth", { params }), fresh("room"))
    const arrived = { user: { id: "1", tags: { 0: "a", 1: "b" } }, name: params.name, flag: "true" }
    const { status, response } = await room.push("params")
    delete response[""] // what long poll leaves of its first, empty, token
    assert.deepEqual([status, response], ["ok", arrived])
  })

  test("a refused connection is told, by an error and no open", {
    skip: !web && version === "1.4" && "long poll of phoenix.js 1.4 knows no answer 403",
  }, async () => {
    const socket = sockets.connect("/auth", { params: { deny: "true" } })
    let [errors, opens] = [0, 0]
    socket.onError(() => errors++)
    socket.onOpen(() => opens++)
    await until(() => errors > 0, true)
    assert.equal(opens, 0)
  })

  test("the auth token arrives, and not among the params", {
    skip: lacks("authToken", "has no authToken"),
  }, async () => {
    const token = "SFMyNTY.g2gDbQ-_.one"
    const options = { params: { user_id: "ann" }, authToken: token }
    const room = await Room.join(sockets.connect("/auth", options), fresh("room"))
    assert.deepEqual(room.joins, [{ user_id: "ann", token }])
    const { response } = await room.push("whoami")
    assert.deepEqual([response.token, response.user_id, response.path], [token, "ann", `/auth/${web ? "websocket" : "longpoll"}`])
    const params = (await room.push("params")).response
    assert.ok(!JSON.stringify(params).includes(token), JSON.stringify(params))
  })

  test("a user who is disconnected comes back with a new token", {
    skip: lacks("authToken", "has no authToken"),
  }, async () => {
    const user = `u${++topics}`
    const tokens = []
    const authToken = () => tokens[tokens.push(`token-${tokens.length + 1}`) - 1]
    const room = await Room.join(sockets.connect("/auth", { params: { user_id: user }, authToken }), fresh("room"))
    const admin = await Room.join(sockets.connect("/auth"), fresh("room"))
    assert.deepEqual(await admin.push("disconnect_user", { user_id: user }), ok({}))
    await until(() => room.joins.map(({ token }) => token), ["token-1", "token-2"])
    assert.equal((await room.push("whoami")).response.token, "token-2")
    assert.equal((await admin.push("whoami")).response.token, null)
  })
}
