// The chat in two tabs on the real server.
import assert from "node:assert/strict"
import { after, afterEach, before, beforeEach, test } from "node:test"
import { Server } from "../clients/server.mjs"
import { until } from "../clients/until.mjs"
import { ChatPage, launch } from "./page.mjs"

let browser, server, ann, bob

before(async () => { browser = await launch() })
after(() => browser.close())

beforeEach(async () => {
  server = await Server.start()
  ann = await ChatPage.open(browser, server.url)
  bob = await ChatPage.open(browser, server.url)
})
afterEach(async () => {
  await ann.close()
  await bob.close()
  await server.stop()
})

test("two tabs see each other's posts", async () => {
  await ann.post("こんにちは")
  await bob.shows("こんにちは")
  await bob.post("やあ")
  await ann.shows("こんにちは", "やあ")
  await bob.shows("こんにちは", "やあ")
})

test("a reply quotes the message that it answers, in every tab", async () => {
  await ann.post("明日は何時から？")
  await bob.reply("明日は何時から？")
  assert.equal(await bob.page.textContent("#reply-text"), "明日は何時から？")
  assert.ok(await bob.page.isVisible("#reply-preview"))
  await bob.screenshot("reply-preview")
  await bob.post("10時です")
  assert.ok(await bob.page.isHidden("#reply-preview"))

  await ann.shows("明日は何時から？", "10時です")
  for (const tab of [ann, bob]) {
    await until(async () => (await tab.messages()).map(message => message.quote), [null, "明日は何時から？"])
  }
})

test("a reply that is called off quotes nothing", async () => {
  await ann.post("one")
  for (const cancel of [() => ann.page.click("#cancel-reply"), () => ann.input.press("Escape")]) {
    await ann.reply("one")
    await cancel()
    assert.ok(await ann.page.isHidden("#reply-preview"))
  }
  await ann.post("two")
  await bob.shows("one", "two")
  assert.equal((await bob.messages())[1].quote, null)
})

test("likes of both tabs add up in both tabs", async () => {
  await ann.post("いいね？")
  await ann.like("いいね？")
  await bob.like("いいね？")
  for (const tab of [ann, bob]) await until(async () => (await tab.messages())[0].likes, 2)
})

test("a reload shows every message once, in order, with its likes", async () => {
  const texts = Array.from({ length: 20 }, (_, i) => `message ${i + 1}.`)
  for (const text of texts) await ann.post(text)
  await bob.shows(...texts)
  await bob.like("message 7.")
  await until(async () => (await ann.messages())[6].likes, 1)

  const loaded = ann.historyLoaded()
  await ann.page.reload()
  await loaded
  await ann.shows(...texts)
  assert.equal((await ann.messages())[6].likes, 1)
})

test("neither Enter nor the button reloads the page, and the input keeps the focus", async () => {
  await ann.page.evaluate(() => { window.sameDocument = true })
  await ann.post("with Enter")
  await ann.input.fill("with the button")
  await ann.page.click("#send-btn")
  await ann.shows("with Enter", "with the button")
  assert.equal(await ann.page.evaluate(() => window.sameDocument), true)
  assert.equal(ann.page.url(), `${server.url}/`)
  assert.equal(await ann.page.evaluate(() => document.activeElement.id), "message-input")
})

test("blanks alone are not posted", async () => {
  await ann.post("   ")
  await ann.post("something")
  await bob.shows("something")
})

test("Japanese from an input method and emoji arrive as they were typed", async () => {
  const cdp = await ann.context.newCDPSession(ann.page)
  await ann.input.focus()
  await cdp.send("Input.imeSetComposition", { text: "ひのとり", selectionStart: 4, selectionEnd: 4 })
  await cdp.send("Input.insertText", { text: "火の鳥" })
  await ann.page.keyboard.insertText("👩‍👩‍👧‍👦🔥 𠮷野家")
  await ann.input.press("Enter")
  await bob.shows("火の鳥👩‍👩‍👧‍👦🔥 𠮷野家")
})
