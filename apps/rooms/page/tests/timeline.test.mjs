import assert from "node:assert/strict"
import { beforeEach, test } from "node:test"
import { ids, message, messages } from "./message.mjs"
import { load } from "./source.mjs"

const { Timeline } = await load("lib/live/timeline.svelte.ts")

let timeline
beforeEach(() => {
  timeline = new Timeline()
  timeline.restart({ messages: messages(51, 100), more: true })
})

test("a new message is appended, and one whose id is smaller is put into its place", () => {
  timeline.change(message(102))
  timeline.change(message(101))
  assert.deepEqual(ids(timeline.shown).slice(-3), [100, 101, 102])
})

test("an edited message and the quotes of it are shown as they are now", () => {
  timeline.change(message(101, { reply_to: { id: 60, author: "ann", text: "text 60" } }))
  timeline.change(message(60, { text: "x".repeat(200) }))
  assert.equal(timeline.find(60).text.length, 200)
  assert.equal(timeline.find(101).reply_to.text, "x".repeat(140))
  timeline.change(message(60, { text: null, deleted: true }))
  assert.equal(timeline.find(101).reply_to.text, null)
})

test("a change of a message that was never loaded shows nothing", () => {
  timeline.change(message(7))
  assert.deepEqual(ids(timeline.shown), ids({ messages: messages(51, 100) }))
})

test("older pages come before, each message once", () => {
  timeline.precede({ messages: messages(1, 51), more: false })
  assert.deepEqual(ids(timeline.shown), ids({ messages: messages(1, 100) }))
  assert.ok(!timeline.shown.more)
})

test("a message far back is shown in a window, which new messages leave alone", () => {
  timeline.show(20, messages(1, 45))
  assert.ok(!timeline.isAtNewest)
  timeline.change(message(101))
  assert.deepEqual(ids(timeline.shown), ids({ messages: messages(1, 45) }))
  timeline.change(message(3, { text: "edited" }))
  assert.equal(timeline.find(3).text, "edited")
  timeline.toNewest()
  assert.equal(timeline.shown.messages.at(-1).id, 101)
})

test("a window that reaches the newest messages becomes one with them", () => {
  timeline.show(20, messages(1, 45))
  timeline.follow(messages(20, 70))
  assert.ok(timeline.isAtNewest)
  assert.deepEqual(ids(timeline.shown), ids({ messages: messages(1, 100) }))
  assert.ok(!timeline.shown.more)
})

test("whether there are older messages than a window is known from how many came before its message", () => {
  timeline.show(26, messages(1, 40))
  assert.ok(timeline.shown.more)
  timeline.show(25, messages(1, 40))
  assert.ok(!timeline.shown.more)
})

test("while nobody looks at older messages, not all of them are kept", () => {
  for (let id = 101; id <= 400; id++) timeline.change(message(id))
  timeline.trim()
  assert.equal(timeline.shown.messages.length, 200)
  assert.equal(timeline.shown.messages.at(-1).id, 400)
  assert.ok(timeline.shown.more)
})
