// What page.js makes of histories, messages and likes in whatever order a server can send them. The page and its scripts
// are the real ones; the other end of its WebSocket is this test.
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

test("a like is not taken back by a history that was on its way when it came", async () => {
  const server = await joins.take()
  server.history(M(1, "a"), M(2, "b", 4))
  server.liked(M(1, "a", 1))
  server.history(M(1, "a"), M(2, "b", 5))
  await shows("1 a 1", "2 b 5")
})

test("a message that a history on its way lacks is not taken back", async () => {
  const server = await joins.take()
  server.message(M(2, "b"))
  server.history(M(1, "a"))
  server.message(M(3, "c"))
  await shows("1 a 0", "2 b 0", "3 c 0")
})

test("what was missed while away takes its place before what came since", async () => {
  let server = await joins.take()
  server.history(M(1, "a"), M(2, "b"))
  await shows("1 a 0", "2 b 0")
  await server.lost()
  server = await joins.take()
  await shows("~1 a 0", "~2 b 0")
  server.message(M(6, "f"))
  await shows("~1 a 0", "~2 b 0", "6 f 0")
  server.history(M(1, "a", 3), M(2, "b"), M(3, "c"), M(4, "d"), M(5, "e"), M(6, "f"))
  await shows("1 a 3", "2 b 0", "3 c 0", "4 d 0", "5 e 0", "6 f 0")
})

test("a reconnect to the same life keeps the elements, and so the reader's focus", async () => {
  let server = await joins.take()
  server.history(M(1, "a"))
  await chat.item("a").locator(".like-button").focus()
  await server.lost()
  server = await joins.take()
  server.history(M(1, "a", 2))
  await shows("1 a 2")
  assert.equal(await chat.page.evaluate(() => document.activeElement.className), "like-button")
})

test("a history that contradicts what is shown replaces all of it", async () => {
  let server = await joins.take()
  server.history(M(1, "a"), M(2, "b"))
  await shows("1 a 0", "2 b 0")
  await server.lost()
  server = await joins.take()
  server.history(M(2, "B"), M(3, "C"))
  await shows("2 B 0", "3 C 0")
})

test("another quote under the same words is a contradiction too", async () => {
  let server = await joins.take()
  server.history(M(1, "a", 0, "x"), M(2, "b"))
  await shows("1 a 0", "2 b 0")
  await server.lost()
  server = await joins.take()
  server.history(M(1, "a"), M(2, "b"), M(3, "c"))
  await shows("1 a 0", "2 b 0", "3 c 0")
  assert.deepEqual((await chat.messages()).map(message => message.quote), [null, null, null])
})

test("a history that ends before what is shown replaces all of it, though its words be the same", async () => {
  let server = await joins.take()
  server.history(M(1, "a", 7), M(2, "b"), M(3, "c"))
  await shows("1 a 7", "2 b 0", "3 c 0")
  await server.lost()
  server = await joins.take()
  server.history(M(1, "a"), M(2, "b"))
  await shows("1 a 0", "2 b 0")
})

test("a message of a new life replaces what is shown, before its history comes and after", async () => {
  let server = await joins.take()
  server.history(M(1, "a"), M(2, "b"), M(3, "c"))
  await shows("1 a 0", "2 b 0", "3 c 0")
  await server.lost()
  server = await joins.take()
  server.message(M(2, "B"))
  await shows("2 B 0")
  server.history(M(1, "A"), M(2, "B"))
  await shows("1 A 0", "2 B 0")
})

test("a message of a new life with a greater id stays when its history shows that the life is new", async () => {
  let server = await joins.take()
  server.history(M(1, "a"), M(2, "b"))
  await shows("1 a 0", "2 b 0")
  await server.lost()
  server = await joins.take()
  server.message(M(3, "C"))
  server.history(M(1, "A"), M(2, "B"), M(3, "C"))
  await shows("1 A 0", "2 B 0", "3 C 0")
})

test("what the history of the same life no longer holds stays to be read, as stale", async () => {
  let server = await joins.take()
  server.history(M(1, "a"), M(2, "b"), M(3, "c"))
  await shows("1 a 0", "2 b 0", "3 c 0")
  await server.lost()
  server = await joins.take()
  server.history(M(3, "c"), M(4, "d"))
  server.message(M(5, "e"))
  await shows("~1 a 0", "~2 b 0", "3 c 0", "4 d 0", "5 e 0")
})

test("several reconnects without a history in between do not tire it", async () => {
  let server = await joins.take()
  server.history(M(1, "a"), M(2, "b"))
  await shows("1 a 0", "2 b 0")
  for (let i = 0; i < 3; i++) {
    await server.lost()
    server = await joins.take()
    server.history()
    await shows("~1 a 0", "~2 b 0")
  }
  server.message(M(1, "A"))
  server.message(M(2, "B"))
  await shows("1 A 0", "2 B 0")
})
