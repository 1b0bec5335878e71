// The chat in a browser without WebSockets, where phoenix.js polls.
import assert from "node:assert/strict"
import { after, afterEach, before, beforeEach, test } from "node:test"
import { Client, disconnectAll } from "../clients/client.mjs"
import { Server } from "../clients/server.mjs"
import { until } from "../clients/until.mjs"
import { ChatPage, launch } from "./page.mjs"

// What the browser itself says of each attempt while nobody listens, or the server is going down.
const REFUSED = /^Failed to load resource: (net::ERR_|the server responded with a status of 503)/

let browser, server, ann, bob, requests

before(async () => { browser = await launch() })
after(() => browser.close())

async function open() {
  const chat = await ChatPage.open(browser, server.url, { webSockets: false })
  chat.page.on("websocket", () => requests.push("a WebSocket"))
  chat.page.on("request", request => requests.push(`${request.method()} ${new URL(request.url()).pathname}`))
  return chat
}

beforeEach(async () => {
  requests = []
  server = await Server.start()
  ann = await open()
  bob = await open()
})
afterEach(async () => {
  disconnectAll()
  await ann.close(REFUSED)
  await bob.close(REFUSED)
  await server.stop()
})

const noErrors = () => assert.deepEqual([...ann.errors, ...bob.errors], [])

test("two tabs post, reply and like, and see each other at once", async () => {
  await ann.post("明日は何時から？")
  await bob.item("明日は何時から？").waitFor({ timeout: 1_000 })
  await bob.reply("明日は何時から？")
  await bob.post("10時です")
  await ann.item("10時です").waitFor({ timeout: 1_000 })
  await ann.like("10時です")
  await bob.like("10時です")
  for (const tab of [ann, bob]) {
    await until(() => tab.messages(), [
      { id: 1, content: "明日は何時から？", quote: null, likes: 0, stale: false },
      { id: 2, content: "10時です", quote: "明日は何時から？", likes: 2, stale: false },
    ], 2_000)
    assert.ok(await tab.page.locator("#connection-lost").isHidden())
  }
  assert.deepEqual([...new Set(requests)].sort(), ["GET /socket/longpoll", "POST /socket/longpoll"])
  noErrors()
})

test("a tab that polls and clients on WebSockets share one chat, and a late tab gets its history", async () => {
  const client = await Client.join(server)
  for (let n = 1; n <= 50; n++) client.send("new_message", { message: `message ${n}` })
  const all = Array.from({ length: 50 }, (_, i) => `message ${i + 1}`)
  await ann.shows(...all)
  await ann.post("thanks")
  await until(() => client.messages.at(-1)?.content, "thanks")
  await bob.close()
  bob = await open()
  await bob.shows(...all, "thanks")
  noErrors()
})

async function restart(how) {
  const loaded = [ann, bob].map(tab => tab.historyLoaded())
  await how()
  for (const tab of [ann, bob]) await tab.page.locator("#connection-lost").waitFor()
  await server.startAgain()
  await Promise.all(loaded)
  for (const tab of [ann, bob]) await tab.page.locator("#connection-lost").waitFor({ state: "hidden" })
}

for (const [what, how] of [["dies", () => server.kill()], ["is told to stop", () => server.stop()]]) {
  test(`after the server ${what} and starts again the page is back by itself, and new messages take the old ones' place`, async () => {
    await ann.post("before 1")
    await ann.post("before 2")
    await bob.shows("before 1", "before 2")
    noErrors()
    await restart(how)
    for (const tab of [ann, bob]) {
      await until(async () => (await tab.messages()).map(({ content, stale }) => [content, stale]), [["before 1", true], ["before 2", true]])
    }
    await ann.post("after")
    for (const tab of [ann, bob]) {
      await until(() => tab.messages(), [{ id: 1, content: "after", quote: null, likes: 0, stale: false }])
    }
    await bob.post("after all")
    await ann.shows("after", "after all")
  })
}

test("a post made while the server is away arrives when it is back", async () => {
  await server.kill()
  await ann.page.locator("#connection-lost").waitFor()
  await ann.post("posted to nobody")
  await server.startAgain()
  for (const tab of [ann, bob]) await tab.shows("posted to nobody")
})
