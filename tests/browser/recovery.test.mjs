// A page that is cut off, or whose server restarts, gets what it missed and does not load the history again.
import assert from "node:assert/strict"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, afterEach, before, beforeEach, describe, test } from "node:test"
import { Client, disconnectAll } from "../clients/client.mjs"
import { Server } from "../clients/server.mjs"
import { until } from "../clients/until.mjs"
import { ChatPage, launch } from "./page.mjs"
import { Tunnel } from "./tunnel.mjs"

// What the browser itself says of each attempt while nobody listens.
const REFUSED = /^WebSocket connection to .* failed|^Failed to load resource/

let browser, folder, server, tunnel, other, chat, heard, posts

before(async () => { browser = await launch() })
after(() => browser.close())

beforeEach(async () => { folder = await mkdtemp(join(tmpdir(), "recovery-")) })
afterEach(async () => {
  disconnectAll()
  await chat.close(REFUSED)
  await tunnel.stop()
  await server.stop()
  await rm(folder, { recursive: true })
})

async function serve(env) {
  server = await Server.start(env)
  tunnel = await Tunnel.to(server)
  other = await Client.join(server)
}

const inDatabase = env => serve({ STORE: `sqlite:${join(folder, "chat.db")}`, ...env })

/** Opens the page, and keeps the events that its transports bring: [event, payload]. */
async function open(options) {
  chat = await ChatPage.blank(browser, options)
  heard = []
  posts = 0
  const hears = text => {
    const [, , topic, event, payload] = JSON.parse(text)
    if (topic === "chat:lobby") heard.push([event, payload])
  }
  chat.page.on("websocket", socket => socket.on("framereceived", ({ payload }) => hears(payload)))
  chat.page.on("requestfinished", async request => {
    if (request.method() === "POST") posts++
    if (request.method() !== "GET" || !request.url().includes("/longpoll")) return
    const response = await request.response()
    for (const text of (await response.json()).messages ?? []) hears(text)
  })
  await chat.goto(tunnel.url)
}

/** How many histories the server has sent, and what was in each recovery. */
const histories = () => heard.filter(([event]) => event === "load_messages").length
const recoveries = () => heard
  .filter(([event, { response }]) => event === "phx_reply" && response?.recovered)
  .map(([, { response }]) => response.messages.map(({ id }) => id))

async function post(...texts) {
  for (const text of texts) other.send("new_message", { message: text })
  await until(() => other.messages.at(-1)?.content, texts.at(-1), 60_000)
}

const lost = () => chat.page.locator("#connection-lost").waitFor()

async function whileCut(act) {
  tunnel.cut()
  await lost()
  await act()
  tunnel.mend()
}

async function restart(how = "SIGKILL") {
  await server.stop(how)
  await lost()
  await server.startAgain()
}

const likes = async () => (await chat.messages()).map(message => message.likes)
const isFresh = () => until(async () => (await chat.messages()).filter(({ stale }) => stale), [])

for (const [transport, options] of [["a WebSocket", {}], ["long polling", { webSockets: false }]]) {
  describe(`over ${transport}`, () => {
    test("after a cut the page gets what it missed, once and in order, likes too, and no history", async () => {
      await serve()
      await post("a", "b")
      await open(options)
      await chat.shows("a", "b")
      await whileCut(async () => {
        await post("c", "d", "e")
        for (const message_id of [1, 4, 4]) await other.push("like_message", { message_id })
      })
      await chat.shows("a", "b", "c", "d", "e")
      await until(likes, [1, 0, 0, 2, 0])
      await isFresh()
      await post("f")
      await chat.shows("a", "b", "c", "d", "e", "f")
      assert.deepEqual(recoveries(), [[3, 4, 5]])
      assert.equal(histories(), 1)
    })

    for (const [what, how] of [["is killed", "SIGKILL"], ["is told to stop", "SIGTERM"]]) {
      test(`a page that misses messages while a server with a database ${what} and starts again gets them alone`, async () => {
        await inDatabase()
        await post("a", "b")
        await open(options)
        await chat.shows("a", "b")
        tunnel.cut()
        await lost()
        await post("c")
        await other.push("like_message", { message_id: 2 })
        await restart(how)
        await until(() => other.histories.length, 2)
        await post("d")
        tunnel.mend()
        await chat.shows("a", "b", "c", "d")
        await until(likes, [0, 1, 0, 0])
        await isFresh()
        assert.deepEqual(recoveries().flat(), [3, 4])
        assert.equal(histories(), 1)
      })
    }

    test("through many cuts while others post and like, each message is shown once, and the history loaded once", async () => {
      await serve()
      await post("0")
      await open(options)
      const texts = ["0"]
      let isOver = false
      const posting = (async () => {
        while (!isOver) {
          texts.push(String(texts.length))
          await post(texts.at(-1))
          await other.push("like_message", { message_id: 1 + texts.length % 5 % texts.length })
        }
      })()
      for (let cut = 0; cut < 8; cut++) {
        const count = texts.length + 10
        await whileCut(() => until(() => texts.length > count, true))
        await until(() => chat.page.locator("#connection-lost").isHidden(), true)
        // every other time the next cut comes before the page has caught up
        if (cut % 2) await until(async () => await chat.items.count() > count, true)
      }
      isOver = true
      await posting
      await chat.shows(...texts)
      const counted = new Map(other.likes.map(({ id, likes }) => [id, likes]))
      await until(likes, texts.map((_, i) => counted.get(i + 1) ?? 0))
      assert.equal(histories(), 1)
    })

    test("a message whose answer a cut has taken, and the server's end after it, is there once", async () => {
      await inDatabase()
      await open(options)
      // phoenix.js sends one POST at a time: the join's and that of get_messages come first
      if (transport === "long polling") await until(() => posts, 2)
      tunnel.passes.down = false
      await chat.post("once")
      await until(() => other.messages.map(({ content }) => content), ["once"])
      tunnel.cut()
      await lost()
      await restart()
      tunnel.mend()
      await chat.shows("once")
      await until(() => chat.unsent(), [])
      await post("end")
      await chat.shows("once", "end")
      assert.deepEqual(other.messages.map(({ content }) => content), ["once", "end"])
    })

    test("scrolling up in a long history brings all of it, message by message in its place", async () => {
      await inDatabase({ HISTORY_LIMIT: "120" })
      const texts = Array.from({ length: 450 }, (_, i) => `message ${i + 1}.`)
      await post(...texts)
      await other.push("like_message", { message_id: 3 })
      await open(options)
      await until(() => chat.items.count(), 120)
      for (const count of [220, 320, 420, 450]) {
        await chat.pane.evaluate(pane => { pane.scrollTop = 0 })
        await until(() => chat.items.count(), count)
      }
      await chat.shows(...texts)
      await until(async () => (await likes())[2], 1)
      await whileCut(() => post("missed"))
      await chat.shows(...texts, "missed")
      await isFresh()
      assert.equal(histories(), 1)
    })
  })
}

test("a page that shows 10,000 messages loads 100 when it has missed 100", async t => {
  await inDatabase()
  await post(...Array.from({ length: 10_000 }, (_, i) => `message ${i + 1}.`))
  await open()
  await until(() => chat.items.count(), 10_000, 60_000)
  await whileCut(() => post(...Array.from({ length: 100 }, (_, i) => `missed ${i + 1}.`)))
  const began = performance.now()
  await until(() => chat.items.count(), 10_100)
  t.diagnostic(`from the mended tunnel to the last message: ${Math.round(performance.now() - began)} ms`)
  assert.deepEqual(recoveries(), [Array.from({ length: 100 }, (_, i) => 10_001 + i)])
  assert.equal(histories(), 1)
  await isFresh()
})

test("a page that has missed more than the server tells loads the history, without a hole before it", async () => {
  await inDatabase({ HISTORY_LIMIT: "50" })
  await post(...Array.from({ length: 40 }, (_, i) => `${i + 1}`))
  await open()
  await until(() => chat.items.count(), 40)
  await whileCut(() => post(...Array.from({ length: 1_500 }, (_, i) => `${i + 41}`)))
  await chat.shows(...Array.from({ length: 50 }, (_, i) => `${i + 1_491}`))
  await isFresh()
  assert.equal(histories(), 2)
})

test("a restart without a database is another epoch, whose history is loaded", async () => {
  await serve()
  await post("before")
  await open()
  await chat.shows("before")
  await whileCut(async () => {
    await server.kill()
    await server.startAgain()
    await until(() => other.histories.length, 2)
    await post("after")
  })
  await chat.shows("after")
  assert.equal(histories(), 2)
  assert.deepEqual(recoveries(), [])
})
