// Reading: a phone, the way to the newest message and a long history.
import assert from "node:assert/strict"
import { after, afterEach, before, beforeEach, test } from "node:test"
import { Client, disconnectAll } from "../clients/client.mjs"
import { Server } from "../clients/server.mjs"
import { until } from "../clients/until.mjs"
import { ChatPage, launch, PHONE } from "./page.mjs"

let browser, server, poster

before(async () => { browser = await launch() })
after(() => browser.close())

beforeEach(async () => {
  server = await Server.start()
  poster = await Client.join(server)
})
afterEach(async () => {
  disconnectAll()
  await server.stop()
})

const CONVERSATION = [
  ["おはようございます！チャットへようこそ 🔥"],
  ["サーバは Rust で書かれていて、actix-web の上で Phoenix Channels を話します。"],
  ["Does the page still run the original app.js?"],
  ["はい、一行も変えていません。", 3],
  ["長い URL も折り返します: https://example.com/" + "a-rather-long-path/".repeat(9)],
  ["いいねと返信もどうぞ 👇"],
]

async function converse() {
  for (const [message, reply_to = null] of CONVERSATION) poster.send("new_message", { message, reply_to })
  await poster.push("like_message", { message_id: 4 })
  await poster.push("like_message", { message_id: 4 })
}

async function fill(count) {
  for (let i = 1; i <= count; i++) poster.send("new_message", { message: `message ${i}.`, reply_to: i % 5 === 0 ? i - 1 : null })
  await until(() => poster.messages.length, count, 60_000)
}

const distanceFromEnd = pane => pane.evaluate(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight)
const atEnd = async chat => Math.abs(await distanceFromEnd(chat.pane)) <= 1

for (const [name, viewport] of [["desktop", undefined], ["phone", { viewport: PHONE, deviceScaleFactor: 2, isMobile: true, hasTouch: true }]]) {
  test(`on a ${name} nothing is wider than the window and the input is in view`, async () => {
    await converse()
    const chat = await ChatPage.open(browser, server.url, viewport)
    await chat.shows(...CONVERSATION.map(([text]) => text))
    await chat.screenshot(name)
    const seen = await chat.page.evaluate(() => {
      const wide = element => element.scrollWidth > element.clientWidth
      const input = document.getElementById("message-input").getBoundingClientRect()
      const button = document.getElementById("send-btn").getBoundingClientRect()
      return {
        sideways: wide(document.documentElement) || wide(document.querySelector("[role=log]")),
        pageScrolls: document.documentElement.scrollHeight > innerHeight,
        inView: input.top > 0 && input.bottom <= innerHeight && button.right <= innerWidth && input.width > 150,
      }
    })
    assert.deepEqual(seen, { sideways: false, pageScrolls: false, inView: true })
    await chat.close()
  })
}

test("a reader at the end is taken along to each new message", async () => {
  await fill(30)
  const chat = await ChatPage.open(browser, server.url)
  await until(() => atEnd(chat), true)
  for (let i = 0; i < 5; i++) {
    poster.send("new_message", { message: `news ${i}` })
    await chat.item(`news ${i}`).waitFor()
    await until(() => atEnd(chat), true)
  }
  await chat.reply("news 4")
  await until(() => atEnd(chat), true)
  await chat.close()
})

test("a reader who has scrolled up stays there, and is taken along again after coming back", async () => {
  await fill(30)
  const chat = await ChatPage.open(browser, server.url)
  await until(() => atEnd(chat), true)
  await chat.pane.hover()
  await chat.page.mouse.wheel(0, -600)
  await until(async () => await distanceFromEnd(chat.pane) > 500, true)
  const line = await chat.item("message 26.").boundingBox()

  poster.send("new_message", { message: "news" })
  await chat.item("news").waitFor()
  const frames = () => chat.page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))))
  await frames()
  assert.deepEqual(await chat.item("message 26.").boundingBox(), line)

  await chat.page.mouse.wheel(0, 10_000)
  await until(() => atEnd(chat), true)
  poster.send("new_message", { message: "more news" })
  await chat.item("more news").waitFor()
  await until(() => atEnd(chat), true)

  await chat.page.mouse.wheel(0, -600)
  await until(async () => await distanceFromEnd(chat.pane) > 500, true)
  await chat.post("my own")
  await chat.item("my own").waitFor()
  await until(() => atEnd(chat), true)
  await chat.close()
})

test("a history of 10,000 messages shows each once", async t => {
  await fill(10_000)
  const began = performance.now()
  const chat = await ChatPage.open(browser, server.url)
  await until(() => atEnd(chat), true)
  t.diagnostic(`from opening the page to the newest message in view: ${Math.round(performance.now() - began)} ms`)
  const ids = (await chat.messages()).map(message => message.id)
  assert.equal(ids.length, 10_000)
  assert.ok(ids.every((id, i) => id === i + 1))
  await chat.close()
})
