// Text that runs from right to left, and text that can't be broken: in messages, quotes, the answer's preview and the input.
import assert from "node:assert/strict"
import { after, afterEach, before, test } from "node:test"
import { Client, disconnectAll } from "../clients/client.mjs"
import { Server } from "../clients/server.mjs"
import { until } from "../clients/until.mjs"
import { ChatPage, DESKTOP, launch, PHONE } from "./page.mjs"

let browser, server, chat

before(async () => { browser = await launch() })
after(() => browser.close())
afterEach(async () => {
  disconnectAll()
  await chat.close()
  await server.stop()
})

const RTL = ["مرحبا! كيف حالك؟ (1) 2026.", "שלום, עולם!", "\u200fABC שלום!"]
const MIXED = "مرحبا!\nHello, world!\nשלום!\n123 !"

async function open(options) {
  server = await Server.start()
  const poster = await Client.join(server)
  chat = await ChatPage.open(browser, server.url, options)
  return poster
}

/** Of each line of an element's text: on which side of its first letter its last one stands, and at which edge it begins. */
const lines = locator => locator.evaluate(element => {
  const node = element.firstChild
  const at = index => {
    const range = document.createRange()
    range.setStart(node, index)
    range.setEnd(node, index + 1)
    return range.getBoundingClientRect()
  }
  const box = element.getBoundingClientRect()
  let start = 0
  return node.data.split("\n").map(line => {
    const first = at(start + line.search(/[\p{L}\d]/u))
    const last = at(start + line.length - 1)
    start += line.length + 1
    return [last.left < first.left ? "rtl" : "ltr", box.right - first.right < first.left - box.left ? "right" : "left"]
  })
})

const RIGHT = [["rtl", "right"]]
const LEFT = [["ltr", "left"]]

async function checkMessages() {
  for (const text of RTL) assert.deepEqual(await lines(chat.item(text).locator("p")), RIGHT, text)
  assert.deepEqual(await lines(chat.item("Hello, مرحبا!").locator("p")), LEFT)
  assert.deepEqual(await lines(chat.item("こんにちは。").locator("p")), LEFT)
  assert.deepEqual(await lines(chat.item(MIXED).locator("p")), [...RIGHT, ...LEFT, ...RIGHT, ...LEFT])
  assert.equal(await chat.item(RTL[1]).locator("p").evaluate(p => getComputedStyle(p).direction), "rtl")
  // A quote begins where its label ends, and runs in its own direction there.
  assert.equal((await lines(chat.item("an answer").locator(".italic")))[0][0], "rtl")
  const label = chat.item("an answer").locator(".font-medium")
  assert.ok((await label.boundingBox()).x < (await chat.item("an answer").locator(".italic").boundingBox()).x)
}

test("each message and each of its lines runs in its own direction, live and from the history", async () => {
  const poster = await open()
  for (const message of [...RTL, "Hello, مرحبا!", "こんにちは。", MIXED]) poster.send("new_message", { message })
  poster.send("new_message", { message: "an answer", reply_to: 2 })
  await chat.item("an answer").waitFor()
  await checkMessages()
  const loaded = chat.historyLoaded()
  await chat.page.reload()
  await loaded
  await checkMessages()
  await chat.screenshot("right-to-left")
})

test("the input and the preview of an answer follow what is in them", async () => {
  const poster = await open()
  poster.send("new_message", { message: RTL[0] })
  await chat.reply(RTL[0])
  assert.equal((await lines(chat.page.locator("#reply-text")))[0][0], "rtl")
  const direction = () => chat.input.evaluate(input => getComputedStyle(input).direction)
  assert.equal(await direction(), "ltr")
  await chat.input.fill(RTL[1])
  assert.equal(await direction(), "rtl")
  await chat.input.press("Enter")
  await chat.item(RTL[1]).waitFor()
  assert.equal(await direction(), "ltr")
})

test("an override without an end changes nothing beside it", async () => {
  const poster = await open()
  poster.send("new_message", { message: "\u202eoverride" })
  poster.send("new_message", { message: "an answer", reply_to: 1 })
  await chat.item("an answer").waitFor()
  for (const locator of [chat.item("an answer").locator("p"), chat.item("an answer").locator(".font-medium"), chat.item("\u202eoverride").locator("span").last()]) {
    assert.equal((await lines(locator))[0][0], "ltr")
  }
  await chat.reply("\u202eoverride")
  assert.equal((await lines(chat.page.locator("#reply-preview .font-medium")))[0][0], "ltr")
})

const UNBROKEN = ["W".repeat(1_000), "﷽".repeat(100), "ﷺ".repeat(300), "𒐫".repeat(50), "a\u00a0".repeat(500), "a\u2060".repeat(500),
  "\t".repeat(300) + "tab", "👩‍👩‍👧‍👦".repeat(100), "שלום".repeat(200), "مرحبا".repeat(200), "a.b/c_d".repeat(200)]

for (const [name, options] of [["desktop", { viewport: DESKTOP }], ["phone", { viewport: PHONE, deviceScaleFactor: 2, isMobile: true, hasTouch: true }]]) {
  test(`on a ${name} text that can't be broken is, in messages, quotes and the preview`, async () => {
    const poster = await open(options)
    for (const message of UNBROKEN) poster.send("new_message", { message })
    for (const i of UNBROKEN.keys()) poster.send("new_message", { message: `answer ${i}`, reply_to: i + 1 })
    await chat.item(`answer ${UNBROKEN.length - 1}`).waitFor()
    const tooWide = () => chat.page.evaluate(() => Array.from(document.querySelectorAll("html, [role=log], #reply-preview, #messages > li > div, #messages p, #messages li div"))
      .filter(element => element.scrollWidth > element.clientWidth + 1)
      .map(element => `${element.localName}.${element.className} ${element.textContent.trim().slice(0, 20)}`))
    assert.deepEqual(await tooWide(), [])
    for (const i of UNBROKEN.keys()) {
      await chat.items.nth(i).locator(".reply-button").click()
      assert.deepEqual(await tooWide(), [])
    }
  })
}

test("marks stacked on a letter stay in their message", async () => {
  const poster = await open()
  poster.send("new_message", { message: "above" })
  poster.send("new_message", { message: "o" + "\u0302\u0303\u0304".repeat(30) })
  await until(() => chat.items.count(), 2)
  const above = chat.item("above")
  const alone = await above.screenshot()
  await chat.items.nth(1).evaluate(li => { li.querySelector("p").textContent = "Z" })
  assert.ok(alone.equals(await above.screenshot()), "the message above looks the same without them")
})
