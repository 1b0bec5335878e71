// Connections that die without a word. Only the newest one says whether the page is connected.
import assert from "node:assert/strict"
import { after, afterEach, before, beforeEach, test } from "node:test"
import { Server } from "../clients/server.mjs"
import { until } from "../clients/until.mjs"
import { Lobby, M } from "./lobby.mjs"
import { ChatPage, launch } from "./page.mjs"

/** phoenix.js asks every 30 s, and gives a connection up when the next time comes without an answer. */
const GIVEN_UP = 61_000

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
  await chat.page.clock.install()
  joins = await Lobby.open(chat.page)
  await chat.page.goto(server.url)
})
afterEach(() => chat.close())

const state = async () => ({
  isLost: await chat.page.isVisible("#connection-lost"),
  shown: (await chat.messages()).map(({ content, stale }) => `${stale ? "~" : ""}${content}`),
})

async function replaced(dead, ...history) {
  const { closing, close } = await dead.dies()
  await chat.page.clock.runFor(GIVEN_UP)
  await closing
  await chat.page.clock.runFor(2_000)
  const lobby = await joins.take()
  lobby.enters("A", ...history)
  return { lobby, close }
}

test("the late close of a connection that was replaced changes nothing", async () => {
  const first = await joins.take()
  first.enters("A", M(1, "a"))
  await until(state, { isLost: false, shown: ["a"] })
  const { lobby, close } = await replaced(first, M(1, "a"), M(2, "b"))
  await until(state, { isLost: false, shown: ["a", "b"] })
  await close()
  lobby.message(M(3, "c"))
  await until(state, { isLost: false, shown: ["a", "b", "c"] })
})

test("the late closes of several, in any order, change nothing", async () => {
  let lobby = await joins.take()
  lobby.enters("A", M(1, "a"))
  const closes = []
  for (let i = 0; i < 3; i++) {
    const next = await replaced(lobby, M(1, "a"))
    closes.push(next.close)
    lobby = next.lobby
    await until(state, { isLost: false, shown: ["a"] })
  }
  for (const [i, close] of [closes[1], closes[2], closes[0]].entries()) {
    await close()
    lobby.message(M(2 + i, `after ${i}`))
    await chat.item(`after ${i}`).waitFor()
  }
  await until(state, { isLost: false, shown: ["a", "after 0", "after 1", "after 2"] })
})

test("a connection that is given up is lost at once, not when it is closed", async () => {
  const first = await joins.take()
  first.enters("A", M(1, "a"))
  await until(state, { isLost: false, shown: ["a"] })
  await chat.page.evaluate(() => {
    const notice = document.getElementById("connection-lost")
    window.said = []
    new MutationObserver(() => window.said.push(notice.hidden)).observe(notice, { attributeFilter: ["hidden"] })
  })
  const { close } = await replaced(first, M(1, "a"))
  await until(state, { isLost: false, shown: ["a"] })
  assert.deepEqual(await chat.page.evaluate(() => window.said), [false, true])
  await close()
})

test("when the newest is lost too the page says so, and the late close of the old one does not hide it", async () => {
  const first = await joins.take()
  first.enters("A", M(1, "a"))
  await until(state, { isLost: false, shown: ["a"] })
  const { lobby, close } = await replaced(first, M(1, "a"))
  await until(state, { isLost: false, shown: ["a"] })
  await chat.page.clock.pauseAt(await chat.page.evaluate(() => Date.now() + 1_000)) // no reconnect meanwhile
  await lobby.lost()
  await until(state, { isLost: true, shown: ["~a"] })
  await close()
  await chat.page.clock.runFor(2_000)
  const last = await joins.take()
  last.enters("A", M(1, "a"))
  await until(state, { isLost: false, shown: ["a"] })
})
