// The server dies under an open page and starts again on its port, with an empty memory.
import { after, afterEach, before, beforeEach, test } from "node:test"
import { Client, disconnectAll } from "../clients/client.mjs"
import { Server } from "../clients/server.mjs"
import { until } from "../clients/until.mjs"
import { ChatPage, launch } from "./page.mjs"

// What the browser itself says of each attempt while nobody listens.
const REFUSED = /^WebSocket connection to .* failed/

let browser, server, chat

before(async () => { browser = await launch() })
after(() => browser.close())

beforeEach(async () => {
  server = await Server.start()
  chat = await ChatPage.open(browser, server.url)
})
afterEach(async () => {
  disconnectAll()
  await chat.close(REFUSED)
  await server.stop()
})

const staleness = async () => (await chat.messages()).map(message => message.stale)

async function restart() {
  const loaded = chat.historyLoaded()
  await server.kill()
  await chat.page.locator("#connection-lost").waitFor()
  await server.startAgain()
  await loaded
  await chat.page.locator("#connection-lost").waitFor({ state: "hidden" })
}

test("the page comes back by itself, keeps the old messages to read, and the first new one takes their place", async () => {
  await chat.post("before 1")
  await chat.post("before 2")
  await chat.shows("before 1", "before 2")
  await restart()
  await chat.shows("before 1", "before 2")
  await until(staleness, [true, true])

  await chat.post("after 1")
  await chat.shows("after 1")
  await chat.post("after 2")
  await chat.shows("after 1", "after 2")
  await until(staleness, [false, false])
})

test("what others posted to the restarted server first replaces what was shown", async () => {
  await chat.post("before 1")
  await chat.shows("before 1")
  await server.kill()
  await server.startAgain()
  const other = await Client.join(server)
  for (const message of ["after 1", "after 2"]) other.send("new_message", { message })
  await chat.shows("after 1", "after 2")
  await until(staleness, [false, false])
})

test("the same words after a restart are a new message without the old one's likes", async () => {
  await chat.post("test")
  await chat.like("test")
  await until(async () => (await chat.messages())[0]?.likes, 1)
  await restart()
  await chat.post("test")
  await until(() => chat.messages(), [{ id: 1, content: "test", quote: null, likes: 0, stale: false }])
})

test("a post made while the server is away arrives when it is back", async () => {
  await server.kill()
  await until(() => chat.page.locator("#connection-lost").evaluate(notice => getComputedStyle(notice).opacity), "1")
  await chat.screenshot("connection-lost")
  await chat.post("posted to nobody")
  await server.startAgain()
  await chat.shows("posted to nobody")
})
