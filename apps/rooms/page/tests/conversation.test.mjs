// A room's channel against a server that is played here: recovery, late changes, and unsent messages.
import assert from "node:assert/strict"
import { beforeEach, mock, test } from "node:test"
import { ids, message, messages } from "./message.mjs"
import { load } from "./source.mjs"

const { Conversation } = await load("lib/live/conversation.svelte.ts")
const { Outbox } = await load("lib/live/outbox.svelte.ts")

/** The page's end of phoenix.js. */
class FakeChannel {
  pushes = []
  left = false
  #bindings = {}
  #receivers = {}
  constructor(params) { this.params = params }
  on(event, callback) { this.#bindings[event] = callback }
  onError(callback) { this.failed = callback }
  join() { return receiver(this.#receivers) }
  leave() { this.left = true }
  push(event, payload) {
    const receivers = {}
    this.pushes.push({ event, payload, reply: (status, response = {}) => receivers[status]?.(response) })
    return receiver(receivers)
  }
  broadcast(event, payload) { this.#bindings[event](payload) }
  joined(response) { this.#receivers.ok(response) }
  refused(reason) { this.#receivers.error({ reason }) }
  pushed(event) { return this.pushes.filter(push => push.event === event) }
}

const receiver = receivers => ({ receive(status, callback) { receivers[status] = callback; return this } })

/** localStorage. */
class FakeStorage {
  #items = new Map()
  get length() { return this.#items.size }
  key(i) { return [...this.#items.keys()][i] ?? null }
  getItem(key) { return this.#items.get(key) ?? null }
  setItem(key, value) { this.#items.set(key, value) }
  removeItem(key) { this.#items.delete(key) }
}

const change = (id, message) => ({ id, message })
const settled = () => new Promise(setImmediate)

let storage, outbox, channels, conversation, news
const channel = () => channels.at(-1)

beforeEach(() => {
  storage = new FakeStorage()
  channels = []
  news = []
  enter()
})

function enter() {
  outbox = new Outbox("ann", storage)
  const connection = { channel: (_, params) => (channels.push(new FakeChannel(params)), channel()) }
  conversation = new Conversation("r", connection, outbox, message => news.push(message.id))
  conversation.join()
}

function entered() {
  channel().joined({ recovered: false, reason: "epoch", epoch: "e", last_id: 30 })
  channel().broadcast("history", { epoch: "e", last_id: 30, messages: messages(1, 20), more: false })
}

test("the first join asks for everything, a later one for what was missed", () => {
  assert.deepEqual(channel().params(), { last_seen_id: 0, epoch: null })
  entered()
  channel().broadcast("change", change(31, message(21)))
  assert.deepEqual(channel().params(), { last_seen_id: 31, epoch: "e" })
  channel().joined({ recovered: true, epoch: "e", last_id: 33, messages: [change(32, message(22)), change(33, message(21, { text: "edited" }))] })
  assert.deepEqual(ids(conversation.timeline.shown), ids({ messages: messages(1, 22) }))
  assert.equal(conversation.timeline.find(21).text, "edited")
  assert.deepEqual(news, [21, 22])
})

test("a history of another epoch takes the place of everything", () => {
  entered()
  channel().broadcast("history", { epoch: "f", last_id: 2, messages: messages(1, 2), more: false })
  assert.deepEqual(ids(conversation.timeline.shown), [1, 2])
  channel().broadcast("change", change(3, message(3)))
  assert.deepEqual(ids(conversation.timeline.shown), [1, 2, 3])
})

test("changes in the other order are shown in theirs, and nothing is asked for", t => {
  t.mock.timers.enable({ apis: ["setTimeout"] })
  entered()
  channel().broadcast("change", change(32, message(22)))
  assert.equal(conversation.timeline.newestId, 20)
  channel().broadcast("change", change(31, message(21)))
  assert.equal(conversation.timeline.newestId, 22)
  t.mock.timers.tick(10_000)
  assert.equal(channel().pushed("changes").length, 0)
})

test("a change that stays away is asked for", async t => {
  t.mock.timers.enable({ apis: ["setTimeout"] })
  entered()
  channel().broadcast("change", change(32, message(22)))
  t.mock.timers.tick(500)
  const [ask] = channel().pushed("changes")
  assert.deepEqual(ask.payload, { last_seen_id: 30 })
  ask.reply("ok", { changes: [change(31, message(21)), change(32, message(22))] })
  await settled()
  assert.equal(conversation.timeline.newestId, 22)
})

test("if it cannot be had any more, the room is joined again", async t => {
  t.mock.timers.enable({ apis: ["setTimeout"] })
  entered()
  channel().broadcast("change", change(40, message(22)))
  t.mock.timers.tick(500)
  channel().pushed("changes")[0].reply("error", { reason: "not_found" })
  await settled()
  assert.equal(channels.length, 2)
  assert.ok(channels[0].left)
  assert.deepEqual(channel().params(), { last_seen_id: 30, epoch: "e" })
})

test("messages are posted one after the other, and leave the outbox when they are shown", async () => {
  entered()
  conversation.post({ text: "a", reply_to: null, picture: null })
  conversation.post({ text: "b", reply_to: { id: 7, author: "ann", text: "text 7" }, picture: { id: "p", width: 1, height: 1 } })
  const [a] = channel().pushed("post")
  assert.equal(channel().pushed("post").length, 1)
  a.reply("ok", { id: 21 })
  await settled()
  assert.deepEqual(outbox.items.map(({ text, state }) => [text, state]), [["a", "sent"], ["b", "waiting"]])
  const [, b] = channel().pushed("post")
  assert.deepEqual([b.payload.text, b.payload.reply_to, b.payload.picture_id], ["b", 7, "p"])
  channel().broadcast("change", change(31, message(21, { text: "a", nonce: a.payload.nonce })))
  assert.deepEqual(outbox.items.map(({ text }) => text), ["b"])
})

test("a message whose answer was lost is posted again by the next join, with its nonce", async () => {
  entered()
  conversation.post({ text: "a", reply_to: null, picture: null })
  channel().failed()
  channel().joined({ recovered: true, epoch: "e", last_id: 30, messages: [] })
  const posts = channel().pushed("post")
  assert.equal(posts.length, 2)
  assert.equal(posts[0].payload.nonce, posts[1].payload.nonce)
})

test("what was written offline survives a reload, and is posted once the room is joined", async () => {
  conversation.post({ text: "offline", reply_to: null, picture: null })
  assert.equal(channel().pushed("post").length, 0)
  enter()
  assert.deepEqual(outbox.of("r").map(({ text, state }) => [text, state]), [["offline", "waiting"]])
  entered()
  channel().pushed("post")[0].reply("ok", { id: 21 })
  await settled()
  assert.equal(storage.length, 0)
})

test("a message that was posted before the reload is not shown twice", () => {
  conversation.post({ text: "offline", reply_to: null, picture: null })
  enter()
  const [{ nonce }] = outbox.items
  channel().joined({ recovered: false, epoch: "e", last_id: 1 })
  channel().broadcast("history", { epoch: "e", last_id: 1, messages: [message(1, { nonce })], more: false })
  assert.deepEqual(outbox.items, [])
  assert.equal(storage.length, 0)
})

test("a message that is refused for good is kept to be tried again or thrown away", async () => {
  entered()
  conversation.post({ text: "a", reply_to: null, picture: null })
  channel().pushed("post")[0].reply("error", { reason: "forbidden" })
  await settled()
  const [{ nonce, state }] = outbox.items
  assert.equal(state, "failed")
  conversation.retry(nonce)
  assert.equal(channel().pushed("post").length, 2)
})

test("a message that is refused for a while is posted again later", async () => {
  mock.timers.enable({ apis: ["setTimeout"] })
  entered()
  conversation.post({ text: "a", reply_to: null, picture: null })
  channel().pushed("post")[0].reply("error", { reason: "too_many" })
  await settled()
  assert.equal(channel().pushed("post").length, 1)
  mock.timers.tick(2000)
  await settled()
  assert.equal(channel().pushed("post").length, 2)
  mock.timers.reset()
})

test("a room that cannot be entered says why and is not tried again", () => {
  channel().refused("not_found")
  assert.equal(conversation.refusal, "not_found")
  assert.ok(!conversation.isJoined)
})

test("a message that another tab has sent leaves this tab's outbox", () => {
  conversation.post({ text: "a", reply_to: null, picture: null })
  const key = storage.key(0)
  storage.removeItem(key)
  outbox.changedElsewhere(key)
  assert.deepEqual(outbox.items, [])
})
