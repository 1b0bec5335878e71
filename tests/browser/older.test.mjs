// Scrolling up in a history of which the page has only the newest part. The other end of its WebSocket is this test.
import assert from "node:assert/strict"
import { after, afterEach, before, test } from "node:test"
import { Server } from "../clients/server.mjs"
import { until } from "../clients/until.mjs"
import { Lobby, M } from "./lobby.mjs"
import { ChatPage, launch, PHONE } from "./page.mjs"

let browser, server, chat, joins

before(async () => {
  browser = await launch()
  server = await Server.start()
})
after(async () => {
  await browser.close()
  await server.stop()
})
afterEach(() => chat.close())

const TEXTS = ["short", "several lines\n".repeat(4), "مرحبا! كيف حالك؟ (1) 2026.", "明日は何時から？", "https://example.com/" + "a-rather-long-path/".repeat(9)]
const message = id => M(id, `${id}. ${TEXTS[id % TEXTS.length]}`, 0, id % 7 === 0 ? "a quote" : null)
const messages = (first, last) => Array.from({ length: last - first + 1 }, (_, i) => message(first + i))

/** The page with these messages, at the newest. Returns its join. */
async function open(first, last, options) {
  chat = await ChatPage.blank(browser, options)
  joins = await Lobby.open(chat.page)
  await chat.page.goto(server.url)
  const lobby = await joins.take()
  lobby.enters("A", ...messages(first, last))
  await until(() => chat.items.count(), last - first + 1)
  await until(async () => Math.abs(await distanceFromEnd()) <= 1, true)
  return lobby
}

const distanceFromEnd = () => chat.pane.evaluate(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight)
const frames = () => chat.page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))))
const scrollTo = top => chat.pane.evaluate((pane, top) => { pane.scrollTop = top }, top)
const ids = () => chat.items.evaluateAll(items => items.map(li => Number(li.querySelector(".like-button").dataset.messageId)))
const isBusy = async () => [await chat.page.isVisible("#older-status"), await chat.pane.getAttribute("aria-busy") === "true"]

/** Where a message stands in the window, to a tenth of a pixel. */
const place = id => chat.page.locator(`[data-message-id="${id}"]`).first()
  .evaluate(button => Math.round(button.getBoundingClientRect().top * 10) / 10)

/** Waits until the page has asked `count` times, and returns what it asked last. */
async function asked(lobby, count) {
  await until(() => lobby.of("load_before").length, count)
  return lobby.of("load_before").at(-1)
}

const range = (first, last) => Array.from({ length: last - first + 1 }, (_, i) => first + i)

for (const [name, options] of [["desktop", undefined], ["phone", { viewport: PHONE, deviceScaleFactor: 2, isMobile: true, hasTouch: true }]]) {
  for (const [where, top] of [["at the very top", 0], ["near the top", 150]]) {
    test(`on a ${name}, a reader ${where} gets what is older above what they read, which does not move`, async () => {
      const lobby = await open(101, 200, options)
      assert.deepEqual(lobby.of("load_before"), [])
      await scrollTo(top)
      const { ref, payload } = await asked(lobby, 1)
      assert.deepEqual(payload, { id: 101, limit: 100 })
      await until(isBusy, [true, true])
      const before = await place(101)
      if (top === 0) {
        await until(() => chat.page.locator("#older-status").evaluate(status => getComputedStyle(status).opacity), "1")
        await chat.screenshot(`older-${name}`)
      }
      lobby.reply(ref, "ok", { messages: messages(1, 100) })
      await until(ids, range(1, 200))
      await frames()
      assert.equal(await place(101), before)
      await until(isBusy, [false, false])
      await scrollTo(0)
      await frames()
      assert.equal(lobby.of("load_before").length, 1, "it asks for nothing before the first message of all")
    })
  }
}

test("a page at a time is loaded, until there are no more", async () => {
  const lobby = await open(301, 400)
  for (const [count, first] of [[1, 301], [2, 201], [3, 101]]) {
    await scrollTo(0)
    const { ref, payload } = await asked(lobby, count)
    assert.equal(payload.id, first)
    await frames()
    await scrollTo(30) // asks for nothing while it waits
    await frames()
    assert.equal(lobby.of("load_before").length, count)
    lobby.reply(ref, "ok", { messages: count === 3 ? [] : messages(first - 100, first - 1) })
    await until(isBusy, [false, false])
  }
  assert.deepEqual(await ids(), range(101, 400))
  await scrollTo(200)
  await frames()
  await scrollTo(0)
  await frames()
  assert.equal(lobby.of("load_before").length, 3)
})

test("older messages have their likes and quotes, and can be liked and answered", async () => {
  const lobby = await open(11, 60)
  await scrollTo(0)
  const { ref } = await asked(lobby, 1)
  lobby.liked(M(12, message(12).content, 3))
  lobby.message(message(61))
  lobby.reply(ref, "ok", { messages: [...messages(1, 9), M(10, "the tenth", 2, "a quote")] })
  await until(ids, range(1, 61))
  const shown = await chat.messages()
  assert.deepEqual(shown[9], { id: 10, content: "the tenth", quote: "a quote", likes: 2, stale: false })
  assert.equal(shown[11].likes, 3)
  await chat.like("the tenth")
  await until(() => lobby.likes.map(({ payload }) => payload), [{ message_id: 10 }])
  lobby.liked(M(10, "the tenth", 3))
  await until(async () => (await chat.messages())[9].likes, 3)
  await chat.reply("the tenth")
  await chat.post("an answer")
  await lobby.hears("an answer")
  assert.equal(lobby.posts[0].payload.reply_to, 10)
})

test("a reader who goes by the keyboard comes further with each step, and keeps the focus", async () => {
  const lobby = await open(101, 200)
  await chat.pane.focus()
  await chat.page.keyboard.press("Home")
  const { ref } = await asked(lobby, 1)
  const button = chat.page.locator('.like-button[data-message-id="101"]')
  await button.focus()
  lobby.reply(ref, "ok", { messages: messages(1, 100) })
  await until(ids, range(1, 200))
  assert.ok(await button.evaluate(button => button === document.activeElement))
  await chat.page.keyboard.press("Shift+Tab")
  assert.equal(await chat.page.evaluate(() => document.activeElement.dataset.messageId), "100")
})

test("a history that does not fill the window is filled", async () => {
  const lobby = await open(103, 104)
  const { ref, payload } = await asked(lobby, 1)
  assert.deepEqual(payload, { id: 103, limit: 100 })
  lobby.reply(ref, "ok", { messages: messages(3, 102) })
  await until(ids, range(3, 104))
  await until(async () => Math.abs(await distanceFromEnd()) <= 1, true)
  await frames()
  assert.equal(lobby.of("load_before").length, 1)
})

test("a request that a cut has taken is repeated when the page is back, and an error at the next scroll", async () => {
  let lobby = await open(101, 200)
  await scrollTo(0)
  await asked(lobby, 1)
  await lobby.lost()
  await until(isBusy, [false, false])
  lobby = await joins.take()
  lobby.enters("A", ...messages(101, 201))
  let { ref, payload } = await asked(lobby, 1)
  assert.equal(payload.id, 101)
  lobby.reply(ref, "error", { reason: "message store unavailable" })
  await until(isBusy, [false, false])
  await scrollTo(5);
  ({ ref } = await asked(lobby, 2))
  lobby.reply(ref, "ok", { messages: messages(1, 100) })
  await until(ids, range(1, 201))
})

test("another epoch's beginning is looked for anew", async () => {
  let lobby = await open(101, 200)
  await scrollTo(0)
  lobby.reply((await asked(lobby, 1)).ref, "ok", { messages: [] })
  await until(isBusy, [false, false])
  await lobby.lost()
  lobby = await joins.take()
  lobby.enters("B", ...messages(101, 150))
  await until(ids, range(101, 150))
  await scrollTo(0)
  lobby.reply((await asked(lobby, 1)).ref, "ok", { messages: messages(1, 100) })
  await until(ids, range(1, 150))
})

test("where 10,000 messages are shown, what is older is shown soon, and what is read does not move", async t => {
  const lobby = await open(10_001, 20_000)
  await scrollTo(0)
  const { ref } = await asked(lobby, 1)
  const before = await place(10_001)
  const began = performance.now()
  lobby.reply(ref, "ok", { messages: messages(9_901, 10_000) })
  await until(() => chat.items.count(), 10_100)
  await frames()
  t.diagnostic(`a page of 100: ${Math.round(performance.now() - began)} ms`)
  assert.equal(await place(10_001), before)
  assert.deepEqual(await ids(), range(9_901, 20_000))
})
