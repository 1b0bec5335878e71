// Keys that belong to an input method: they end or throw away its conversion, and mean nothing to the page.
import assert from "node:assert/strict"
import { after, afterEach, before, beforeEach, test } from "node:test"
import { Server } from "../clients/server.mjs"
import { until } from "../clients/until.mjs"
import { ChatPage, launch } from "./page.mjs"

let browser, server, chat, cdp

before(async () => {
  browser = await launch()
  server = await Server.start()
})
after(async () => {
  await browser.close()
  await server.stop()
})

beforeEach(async () => {
  chat = await ChatPage.open(browser, server.url)
  cdp = await chat.context.newCDPSession(chat.page)
})
afterEach(() => chat.close())

const compose = text => cdp.send("Input.imeSetComposition", { text, selectionStart: text.length, selectionEnd: text.length })

async function answering(text) {
  await chat.post(text)
  await chat.reply(text)
  await chat.input.focus()
}

/** Nothing was sent: what comes next is the next message. */
async function sentNothing(text) {
  const before = await chat.contents()
  await chat.input.fill(text)
  await chat.input.press("Enter")
  await chat.shows(...before, text)
}

/** Safari's order: the composition ends, and then comes the key that ended it, with the code 229 alone. */
const inSafari = key => chat.page.evaluate(key => {
  const input = document.getElementById("message-input")
  input.dispatchEvent(new CompositionEvent("compositionend", { data: "", bubbles: true }))
  return input.dispatchEvent(new KeyboardEvent("keydown", { key, code: key, keyCode: 229, isComposing: false, bubbles: true, cancelable: true }))
}, key)

test("Escape that throws a conversion away leaves the answer, in Chromium", async () => {
  await answering("Chromium, Escape")
  await compose("へんかん")
  await chat.page.keyboard.press("Escape")
  assert.ok(await chat.page.isVisible("#reply-preview"))
})

test("Escape that throws a conversion away leaves the answer, in Safari", async () => {
  await answering("Safari, Escape")
  await inSafari("Escape")
  assert.ok(await chat.page.isVisible("#reply-preview"))
  await chat.input.press("Escape")
  assert.ok(await chat.page.isHidden("#reply-preview"))
})

test("Enter that ends a conversion sends nothing and leaves the answer, in Chromium", async () => {
  await answering("Chromium, Enter")
  await compose("へんかん")
  await chat.page.keyboard.press("Enter")
  assert.ok(await chat.page.isVisible("#reply-preview"))
  await sentNothing("end 1")
})

test("Enter that ends a conversion sends nothing and leaves the answer, with the code of Windows' input methods", async () => {
  await answering("Windows, Enter")
  await chat.input.fill("変換")
  for (const type of ["rawKeyDown", "keyUp"]) await cdp.send("Input.dispatchKeyEvent", { type, key: "Enter", code: "Enter", windowsVirtualKeyCode: 229 })
  assert.ok(await chat.page.isVisible("#reply-preview"))
  await sentNothing("end 2")
})

test("Enter that ends a conversion is not the browser's to send, in Safari", async () => {
  await answering("Safari, Enter")
  await chat.input.fill("変換")
  assert.equal(await inSafari("Enter"), false, "its default is prevented")
  assert.ok(await chat.page.isVisible("#reply-preview"))
  await sentNothing("end 3")
})

test("an Enter after the conversion sends, and an Escape calls the answer off", async () => {
  await answering("ordinary")
  await compose("へんかん")
  await cdp.send("Input.insertText", { text: "変換" })
  await chat.page.keyboard.press("Enter")
  await until(async () => {
    const { content, quote } = (await chat.messages()).at(-1)
    return [content, quote]
  }, ["変換", "ordinary"])
  await chat.reply("変換")
  await chat.page.keyboard.press("Escape")
  assert.ok(await chat.page.isHidden("#reply-preview"))
})

test("the Enter of a keyboard on the screen sends, though it composes every word until it ends", async () => {
  await chat.input.focus()
  await compose("hello")
  for (const type of ["rawKeyDown", "char", "keyUp"]) {
    await cdp.send("Input.dispatchKeyEvent", { type, key: "Enter", code: "", windowsVirtualKeyCode: 13, ...(type === "char" && { text: "\r" }) })
  }
  await until(async () => (await chat.contents()).at(-1), "hello")
})
