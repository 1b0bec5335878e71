// Recovery with an unmodified phoenix.js: through cuts and restarts a client sees every message once and in order, ends with the
// right likes, and loads the history once.
import assert from "node:assert/strict"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, test } from "node:test"
import { answer, Client, disconnectAll, openSocket } from "./client.mjs"
import { Cuts, randomOf } from "./cuts.mjs"
import { Reader } from "./reader.mjs"
import { Server } from "./server.mjs"
import { until } from "./until.mjs"
import { CLIENTS } from "./versions.mjs"

const CUTS = Number(process.env.RECOVERY_CUTS ?? 50)
const SEED = Number(process.env.RECOVERY_SEED ?? Math.floor(Math.random() * 2 ** 31))
const random = randomOf(SEED)
const PATIENCE = 60_000

let folder, server, readers, tunnels, talking

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "recovery-"))
  readers = []
  tunnels = []
})
afterEach(async () => {
  clearInterval(talking)
  for (const reader of readers) reader.socket.disconnect()
  disconnectAll()
  await Promise.all(tunnels.map(tunnel => tunnel.stop()))
  await server.stop("SIGKILL")
  await rm(folder, { recursive: true })
})

const inDatabase = env => Server.start({ RUST_LOG: "error", STORE: `sqlite:${join(folder, "chat.db")}`, ...env })

/** The versions that people have now. */
const RECENT = CLIENTS.filter(({ version }) => parseFloat(version) >= 1.7)

/** A reader for each version and transport, behind a tunnel of its own. */
async function openReaders(clients = RECENT) {
  for (const client of clients) {
    const tunnel = await Cuts.before(server)
    tunnels.push(tunnel)
    readers.push(new Reader(`phoenix.js ${client.version} over ${client.transport}`, client, tunnel.socketUrl))
  }
  await until(() => readers.map(({ histories }) => histories), readers.map(() => 1))
}

/** Someone who is never cut off, and posts and likes until `talking` is cleared. */
async function talk() {
  const other = await Client.join(server)
  let count = 0
  talking = setInterval(() => {
    other.send("new_message", { message: `other ${++count}` })
    if (other.messages.length > 0) other.send("like_message", { message_id: 1 + random(other.messages.length) })
  }, 5)
  return other
}

function report(t, seen) {
  for (const { name, joined, recovered } of readers) {
    const missed = recovered.reduce((sum, { messages }) => sum + messages.length, 0)
    t.diagnostic(`${name}: ${joined.length} joins, ${missed} of ${seen.length} messages by recovery`)
    assert.ok(missed > 0, `${name} has missed nothing`)
  }
}

const everyone = what => until(() => readers.filter(reader => !what(reader)).map(({ name }) => name), [], PATIENCE)

/** Checks that every reader saw exactly what was broadcast, with the right likes, and loaded one history. */
async function checkAll({ messages, likes }) {
  const ids = messages.map((_, i) => i + 1)
  assert.deepEqual(messages.map(({ id }) => id), ids)
  const counted = new Map(likes.map(({ id, likes }) => [id, likes]))
  await everyone(({ shown }) => shown.at(-1)?.id >= ids.at(-1))
  for (const reader of readers) {
    assert.deepEqual(reader.shown.map(({ id }) => id), ids, reader.name)
    assert.deepEqual(reader.contents, messages.map(({ content }) => content), reader.name)
    await until(() => reader.likes, ids.map(id => counted.get(id) ?? 0))
    assert.equal(reader.histories, 1, reader.name)
  }
}

test(`through ${CUTS} cuts at random moments every reader sees everything once, in order, and loads the history once`, { timeout: 300_000 }, async t => {
  t.diagnostic(`RECOVERY_SEED=${SEED}`)
  server = await Server.start({ RUST_LOG: "error" })
  await openReaders()
  const other = await talk()
  await Promise.all(readers.map(async (reader, n) => {
    for (let cut = 1; cut <= CUTS; cut++) {
      if (cut % 5 === 0) reader.say(`${reader.name}: ${cut}`)
      // every other cut waits until the reader has rejoined; the rest hit it on its way back
      if (cut % 2 === 0) {
        const joins = reader.joined.length
        await until(() => reader.joined.length > joins, true, PATIENCE)
      }
      await tunnels[n].after(1 + random(5_000))
    }
    reader.say(`${reader.name} has ended`)
  }))
  clearInterval(talking)
  await everyone(({ hasSentAll }) => hasSentAll)
  await other.push("new_message", { message: "the end", nonce: "the end" })
  await checkAll(other)
  report(t, other.messages)
  const texts = other.messages.map(({ content }) => content)
  assert.equal(new Set(texts).size, texts.length, "something was posted twice")
})

test("through kills of a server with a database every reader gets what it missed, and loads the history once", { timeout: 300_000 }, async t => {
  server = await inDatabase()
  await openReaders()
  const said = []
  talking = setInterval(() => {
    const reader = readers[said.length % readers.length]
    said.push(`${reader.name}: ${said.length}`)
    reader.say(said.at(-1))
  }, 5)
  for (let kill = 0; kill < 3; kill++) {
    const seen = said.length + 50
    await everyone(({ shown }) => shown.length >= seen)
    await server.kill()
    await server.startAgain()
  }
  clearInterval(talking)
  await everyone(({ hasSentAll }) => hasSentAll)
  const [first] = readers
  await everyone(({ shown }) => shown.length >= said.length)
  assert.deepEqual([...first.contents].sort(), [...said].sort())
  await checkAll({ messages: first.shown, likes: [] })
})

describe("a client that has been away for too long", () => {
  for (const [store, start] of [["memory", env => Server.start(env)], ["database", inDatabase]]) {
    test(`is told so, and gets the whole history of a server with a ${store}`, async () => {
      server = await start({ HISTORY_LIMIT: "50" })
      await openReaders()
      const other = await Client.join(server)
      other.send("new_message", { message: "seen" })
      await everyone(({ shown }) => shown.length === 1)
      for (const tunnel of tunnels) tunnel.close()
      for (let i = 0; i < 2_000; i++) other.send("new_message", { message: `${i}` })
      await until(() => other.messages.length, 2_001)
      for (const tunnel of tunnels) tunnel.open()
      await everyone(({ histories }) => histories === 2)
      for (const { name, joined, shown } of readers) {
        const { epoch } = joined[0]
        assert.deepEqual(joined[1], { recovered: false, reason: "too_old", epoch, last_id: 2_001 }, name)
        assert.deepEqual(shown.map(({ id }) => id), Array.from({ length: 50 }, (_, i) => 1_952 + i), name)
      }
    })
  }
})

/** The reply to a join with these params, and the ids in the histories that follow it. */
async function joins(params) {
  const socket = openSocket(server)
  const channel = socket.channel("chat:lobby", params)
  const histories = []
  channel.on("load_messages", ({ messages }) => histories.push(messages.map(({ id }) => id)))
  const { status, response } = await answer(channel.join())
  assert.equal(status, "ok")
  await answer(channel.push("like_message", { message_id: 1 })) // a history would be here by now
  return { response, histories }
}

test("each join gets the reply that its params call for", async () => {
  server = await Server.start()
  const other = await Client.join(server)
  for (const message of ["a", "b", "c"]) other.send("new_message", { message })
  await until(() => other.messages.length, 3)
  const whole = [[1, 2, 3]]
  assert.deepEqual(await joins({}), { response: {}, histories: whole })
  const first = await joins({ last_seen_id: 0, epoch: null })
  const { epoch } = first.response
  assert.deepEqual(first, { response: { recovered: false, reason: "epoch", epoch, last_id: 3 }, histories: whole })
  assert.deepEqual(await joins({ last_seen_id: 4, epoch }), { response: { recovered: false, reason: "ahead", epoch, last_id: 3 }, histories: whole })
  assert.deepEqual(await joins({ last_seen_id: 3, epoch: epoch + 1 }), { response: { recovered: false, reason: "epoch", epoch, last_id: 3 }, histories: whole })
  const { response, histories } = await joins({ last_seen_id: 1, epoch })
  assert.deepEqual(histories, [])
  assert.deepEqual({ ...response, messages: response.messages.map(({ id }) => id) }, {
    recovered: true, epoch, last_id: 3, messages: [2, 3], liked: [{ id: 1, likes: 4 }],
  })
})

test("after a restart without a database a client is told of another epoch", async () => {
  server = await Server.start()
  await openReaders([RECENT[0]])
  const [reader] = readers
  reader.say("before")
  await until(() => reader.contents, ["before"])
  await server.kill()
  await server.startAgain()
  await until(() => reader.histories, 2)
  assert.deepEqual(reader.contents, [])
  const [before, { epoch, ...after }] = reader.joined
  assert.notEqual(epoch, before.epoch)
  assert.deepEqual(after, { recovered: false, reason: "epoch", last_id: 0 })
  reader.say("after")
  await until(() => reader.contents, ["after"])
})
