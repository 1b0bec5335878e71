// What page.js makes of histories, recoveries, messages and likes in whatever order a server can send them. The page and its
// scripts are the real ones; the other end of its WebSocket is this test.
import assert from "node:assert/strict"
import { after, afterEach, before, beforeEach, test } from "node:test"
import { Server } from "../clients/server.mjs"
import { until } from "../clients/until.mjs"
import { Lobby, M } from "./lobby.mjs"
import { ChatPage, launch } from "./page.mjs"

let browser, server, chat, joins

before(async () => {
  browser = await launch()
  server = await Server.start()
})
after(async () => {
  await browser.close()
  await server.stop()
})

beforeEach(async () => {
  chat = await ChatPage.blank(browser)
  joins = await Lobby.open(chat.page)
  await chat.page.goto(server.url)
})
afterEach(() => chat.close())

/** Waits until exactly these are shown: "id content likes", with a ~ in front of what is stale. */
const shows = (...lines) => until(async () => (await chat.messages())
  .map(({ id, content, likes, stale }) => `${stale ? "~" : ""}${id} ${content} ${likes}`), lines)

/** The page with these messages of the epoch "A", and then cut off. Returns its next join. */
async function cutOff(...messages) {
  const server = await joins.take()
  server.enters("A", ...messages)
  await shows(...messages.map(({ id, content, likes }) => `${id} ${content} ${likes}`))
  await server.lost()
  return joins.take()
}

test("the page tells what it has when it joins, and never asks for the history by itself", async () => {
  let server = await joins.take()
  assert.deepEqual(server.params, { last_seen_id: 0, epoch: null })
  server.enters("A", M(1, "a"), M(2, "b"))
  server.message(M(3, "c"))
  await shows("1 a 0", "2 b 0", "3 c 0")
  await server.lost()
  assert.deepEqual(server.heard, [])
  server = await joins.take()
  assert.deepEqual(server.params, { last_seen_id: 3, epoch: "A" })
  server.enters("B")
  await chat.like("a") // is dropped: no message of this epoch is shown
  await server.lost()
  assert.deepEqual(server.heard, [])
  server = await joins.take()
  assert.deepEqual(server.params, { last_seen_id: 0, epoch: "B" })
})

test("what was missed while away is appended, and likes of what is shown are what the server says", async () => {
  const server = await cutOff(M(1, "a"), M(2, "b", 1), M(3, "c"))
  await shows("~1 a 0", "~2 b 1", "~3 c 0")
  server.recovers("A", [M(4, "d", 1), M(5, "e")], [{ id: 2, likes: 4 }, { id: 3, likes: 1 }])
  await shows("1 a 0", "2 b 4", "3 c 1", "4 d 1", "5 e 0")
  server.message(M(6, "f"))
  await shows("1 a 0", "2 b 4", "3 c 1", "4 d 1", "5 e 0", "6 f 0")
  assert.deepEqual(server.heard, [])
})

test("a page that has missed nothing shows the same, and the reader keeps the focus", async () => {
  const first = await joins.take()
  first.enters("A", M(1, "a"))
  await chat.item("a").locator(".like-button").focus()
  await first.lost()
  const server = await joins.take()
  await shows("~1 a 0")
  server.recovers("A", [])
  await shows("1 a 0")
  assert.equal(await chat.page.evaluate(() => document.activeElement.className), "like-button")
})

test("what is said before the page has caught up comes behind it, once, with its likes", async () => {
  const server = await cutOff(M(1, "a"), M(2, "b"))
  for (const message of [M(3, "c"), M(4, "d"), M(5, "e")]) server.message(message)
  server.liked(M(5, "e", 1))
  server.liked(M(1, "a", 1))
  await shows("~1 a 0", "~2 b 0")
  server.recovers("A", [M(3, "c"), M(4, "d")])
  await shows("1 a 1", "2 b 0", "3 c 0", "4 d 0", "5 e 1")
})

test("what is said before the history comes is shown behind it, once, with its likes", async () => {
  const server = await joins.take()
  server.startsAnew("epoch", "A", 1)
  server.message(M(2, "b"))
  server.message(M(3, "c"))
  server.liked(M(3, "c", 1))
  server.history(M(1, "a"), M(2, "b"))
  server.message(M(4, "d"))
  await shows("1 a 0", "2 b 0", "3 c 1", "4 d 0")
})

test("a gap is not skipped: the history is loaded again, once, and what came behind the gap waits for it", async () => {
  const server = await joins.take()
  server.enters("A", M(1, "a"))
  server.message(M(2, "b"))
  server.message(M(5, "e"))
  server.message(M(6, "f"))
  server.liked(M(6, "f", 1))
  await until(() => server.heard.map(({ event }) => event), ["get_messages"])
  await shows("1 a 0", "2 b 0")
  server.history(M(1, "a", 2), M(2, "b"), M(3, "c"), M(4, "d"), M(5, "e"))
  server.message(M(7, "g"))
  await shows("1 a 2", "2 b 0", "3 c 0", "4 d 0", "5 e 0", "6 f 1", "7 g 0")
  assert.equal(server.heard.length, 1)
})

test("what came behind a gap is not taken for seen when the connection breaks there", async () => {
  const first = await joins.take()
  first.enters("A", M(1, "a"))
  first.message(M(3, "c"))
  await until(() => first.heard.map(({ event }) => event), ["get_messages"])
  await first.lost()
  const server = await joins.take()
  assert.deepEqual(server.params, { last_seen_id: 1, epoch: "A" })
  server.recovers("A", [M(2, "b"), M(3, "c")])
  await shows("1 a 0", "2 b 0", "3 c 0")
})

test("a like is not taken back by a history that was on its way when it came", async () => {
  const server = await joins.take()
  server.enters("A", M(1, "a"), M(2, "b", 4))
  server.message(M(4, "d"))
  server.history(M(1, "a"), M(2, "b", 4), M(3, "c"), M(4, "d"))
  server.liked(M(1, "a", 1))
  server.history(M(1, "a"), M(2, "b", 5), M(3, "c"), M(4, "d"))
  await shows("1 a 1", "2 b 5", "3 c 0", "4 d 0")
})

test("a history of the same epoch that begins within what is shown is appended to it", async () => {
  const server = await cutOff(M(1, "a"), M(2, "b"), M(3, "c"))
  server.startsAnew("too_old", "A", 4)
  server.history(M(3, "c", 1), M(4, "d"))
  await shows("1 a 0", "2 b 0", "3 c 1", "4 d 0")
})

test("a history of the same epoch that begins behind what is shown takes its place, so that nothing is missing between", async () => {
  const server = await cutOff(M(1, "a"), M(2, "b"))
  server.startsAnew("too_old", "A", 11)
  server.history(M(10, "j"), M(11, "k"))
  await shows("10 j 0", "11 k 0")
})

test("another epoch's history replaces all of what is shown, even the same words", async () => {
  const server = await cutOff(M(1, "a", 7), M(2, "b"), M(3, "c"))
  server.enters("B", M(1, "a"), M(2, "b"))
  await shows("1 a 0", "2 b 0")
})

test("a store that was put back to an earlier state replaces all of what is shown", async () => {
  const server = await cutOff(M(1, "a"), M(2, "b"), M(3, "c"))
  server.startsAnew("ahead", "A", 2)
  server.history(M(1, "a"), M(2, "b"))
  await shows("1 a 0", "2 b 0")
})

test("while another epoch has no messages the old ones stay to be read, through any number of cuts", async () => {
  let server = await cutOff(M(1, "a"), M(2, "b"))
  for (let i = 0; i < 3; i++) {
    server.enters("B")
    await shows("~1 a 0", "~2 b 0")
    await server.lost()
    server = await joins.take()
  }
  server.enters("B")
  server.message(M(1, "A"))
  await shows("1 A 0")
  server.message(M(2, "B"))
  await shows("1 A 0", "2 B 0")
})

test("what another epoch says while the page is away for a second time replaces what is shown", async () => {
  let server = await cutOff(M(1, "a"), M(2, "b"))
  server.enters("B")
  await server.lost()
  server = await joins.take()
  server.enters("B", M(1, "A"))
  await shows("1 A 0")
})

test("an epoch whose history is lost on its way is asked for again", async () => {
  let server = await cutOff(M(1, "a"), M(2, "b"))
  server.startsAnew("epoch", "B", 1)
  await server.lost()
  server = await joins.take()
  assert.deepEqual(server.params, { last_seen_id: 0, epoch: "B" })
  server.enters("B", M(1, "A"))
  await shows("1 A 0")
})

test("a store that has dropped all its messages goes on where it was", async () => {
  let server = await joins.take()
  server.startsAnew("epoch", "A", 100)
  server.history()
  server.message(M(101, "a"))
  await shows("101 a 0")
  assert.deepEqual(server.of("get_messages"), [])
})

test("a channel that crashes recovers as well", async () => {
  const first = await joins.take()
  first.enters("A", M(1, "a"))
  await shows("1 a 0")
  first.crash()
  const server = await joins.take()
  assert.deepEqual(server.params, { last_seen_id: 1, epoch: "A" })
  server.recovers("A", [M(2, "b")])
  await shows("1 a 0", "2 b 0")
})
