// The official phoenix client talks to the chat.
import assert from "node:assert/strict"
import { afterEach, beforeEach, test } from "node:test"
import { answer, Client, disconnectAll, openSocket } from "./client.mjs"
import { Server } from "./server.mjs"
import { until } from "./until.mjs"

let server, ann, bob

beforeEach(async () => {
  server = await Server.start({ MESSAGE_MAX: "100" })
  ann = await Client.join(server)
  bob = await Client.join(server)
})
afterEach(async () => {
  disconnectAll()
  await server.stop()
})

const OK = { status: "ok", response: {} }
const error = reason => ({ status: "error", response: { reason } })
const contents = messages => messages.map(message => message.content)

test("a join is answered with {} and followed by the history, oldest first", async () => {
  assert.deepEqual(ann.joined, OK)
  await until(() => ann.histories, [[]])
  for (const message of ["one", "two", "three"]) ann.send("new_message", { message })
  await until(() => contents(bob.messages), ["one", "two", "three"])

  const late = await Client.join(server)
  await until(() => late.histories.map(contents), [["one", "two", "three"]])
  late.send("get_messages", {})
  await until(() => late.histories.length, 2)
  assert.deepEqual(late.histories[1], late.histories[0])
})

test("a message has the fields of the original", async () => {
  const base = { reply_to_id: null, reply_to_content: null, likes: 0 }
  const expected = [
    { ...base, id: 1, content: "こんにちは 🔥" },
    { ...base, id: 2, content: "re", reply_to_id: 1, reply_to_content: "こんにちは 🔥" },
    { ...base, id: 3, content: "re nothing", reply_to_id: 77 },
  ]
  for (const { content, reply_to_id } of expected) ann.send("new_message", { message: content, reply_to: reply_to_id })
  await until(() => bob.messages.map(({ timestamp, ...rest }) => rest), expected)
  for (const { timestamp } of bob.messages) {
    assert.match(timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
    assert.ok(Math.abs(Date.parse(timestamp) - Date.now()) < 60_000)
  }
})

test("everyone gets the messages of several posters in the order of their ids", async () => {
  const posters = await Promise.all(Array.from({ length: 6 }, () => Client.join(server)))
  for (let i = 0; i < 50; i++) {
    for (const [n, poster] of posters.entries()) poster.send("new_message", { message: `${n}: ${i}` })
  }
  const ids = Array.from({ length: 300 }, (_, i) => i + 1)
  for (const client of [ann, bob, ...posters]) await until(() => client.messages.map(message => message.id), ids)
  assert.deepEqual(ann.messages, bob.messages)
  for (const n of posters.keys()) {
    const own = contents(ann.messages).filter(content => content.startsWith(`${n}:`))
    assert.deepEqual(own, Array.from({ length: 50 }, (_, i) => `${n}: ${i}`))
  }
})

test("a like, by number or by text, is broadcast before it is answered", async () => {
  ann.send("new_message", { message: "like me" })
  await until(() => bob.messages.length, 1)
  assert.deepEqual(await ann.push("like_message", { message_id: 1 }), OK)
  assert.deepEqual(ann.likes.map(message => message.likes), [1])
  assert.deepEqual(await bob.push("like_message", { message_id: "1st" }), OK)
  await until(() => ann.likes.map(({ id, content, likes }) => [id, content, likes]), [[1, "like me", 1], [1, "like me", 2]])
  await until(() => bob.likes.map(message => message.likes), [1, 2])
})

for (const [event, payload, reason] of [
  ["new_message", {}, "invalid message"],
  ["new_message", { message: 5 }, "invalid message"],
  ["new_message", { message: null, reply_to: null }, "invalid message"],
  ["new_message", { message: "あ".repeat(101) }, "message too long"],
  ["new_message", { message: "hi", reply_to: "1" }, "invalid reply_to"],
  ["new_message", { message: "hi", reply_to: 1.5 }, "invalid reply_to"],
  ["like_message", {}, "invalid message id"],
  ["like_message", { message_id: "first" }, "invalid message id"],
  ["like_message", { message_id: null }, "invalid message id"],
  ["like_message", { message_id: 1 }, "message not found"],
]) {
  test(`${event} ${JSON.stringify(payload).slice(0, 40)} is answered with "${reason}" and changes nothing`, async () => {
    assert.deepEqual(await ann.push(event, payload), error(reason))
    ann.send("new_message", { message: "あ".repeat(100) })
    await until(() => bob.messages.map(message => message.id), [1])
    assert.deepEqual(bob.likes, [])
  })
}

test("a topic without a channel is refused as unmatched", async () => {
  const socket = openSocket(server)
  for (const topic of ["chat:other", "chat:lobby:1", "room:lobby"]) {
    assert.deepEqual(await answer(socket.channel(topic).join()), error("unmatched topic"))
  }
})

test("heartbeats are answered and keep the connection", async () => {
  let closes = 0
  let answers = 0
  // The client gives up a connection on which an answer takes longer than the interval: ample for a busy machine.
  const client = await Client.join(server, { heartbeatIntervalMs: 300 })
  client.socket.onClose(() => closes++)
  client.socket.onMessage(({ topic, event, payload }) => {
    if (topic === "phoenix" && event === "phx_reply" && payload.status === "ok") answers++
  })
  await until(() => answers >= 5, true)
  assert.equal(closes, 0)
})

test("an event that the channel does not know crashes it alone, and the client joins again by itself", async () => {
  let closes = 0
  const crashes = []
  await until(() => ann.histories.length, 1)
  ann.socket.onClose(() => closes++)
  ann.channel.onError(reason => crashes.push(reason))
  ann.send("no_such_event", {})
  await until(() => ann.histories.length, 2)
  assert.deepEqual(crashes, [{ reason: "channel_crash" }])
  assert.equal(closes, 0)
  ann.send("new_message", { message: "still here" })
  await until(() => contents(bob.messages), ["still here"])
  await until(() => contents(ann.messages), ["still here"])
})

test("a second join of a topic on one socket ends the first channel, and broadcasts come once", async () => {
  let closed = 0
  ann.channel.onClose(() => closed++)
  const second = ann.socket.channel("chat:lobby")
  const received = []
  second.on("new_message", ({ message }) => received.push(message.content))
  assert.deepEqual(await answer(second.join()), OK)
  await until(() => closed, 1)
  bob.send("new_message", { message: "one" })
  bob.send("new_message", { message: "two" })
  await until(() => received, ["one", "two"])
  assert.deepEqual(ann.messages, [])
})

test("one who has left gets nothing more, and can join again", async () => {
  assert.deepEqual(await answer(ann.channel.leave()), OK)
  bob.send("new_message", { message: "while away" })
  await until(() => bob.messages.length, 1)
  const again = ann.socket.channel("chat:lobby")
  const histories = []
  again.on("load_messages", ({ messages }) => histories.push(contents(messages)))
  assert.deepEqual(await answer(again.join()), OK)
  await until(() => histories, [["while away"]])
  assert.deepEqual(ann.messages, [])
})
