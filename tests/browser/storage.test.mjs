// Browsers that block site data: naming sessionStorage or localStorage throws.
import assert from "node:assert/strict"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { after, afterEach, before, beforeEach, test } from "node:test"
import { chromium } from "playwright-core"
import { Server } from "../clients/server.mjs"
import { until } from "../clients/until.mjs"
import { ChatPage, launch, launchOptions } from "./page.mjs"

let browser, server, chat

before(async () => { browser = await launch() })
after(() => browser.close())
beforeEach(async () => { server = await Server.start() })
afterEach(() => server.stop())

const stores = ["sessionStorage", "localStorage"]

/** What naming each store gives to scripts of the page. */
const named = () => chat.page.evaluate(stores => stores.map(store => {
  try {
    return String(window[store])
  } catch (error) {
    return error.name
  }
}), stores)

async function chatWorks() {
  await chat.post("a")
  await chat.shows("a")
  await chat.like("a")
  await chat.reply("a")
  await chat.post("b")
  await until(() => chat.messages(), [
    { id: 1, content: "a", quote: null, likes: 1, stale: false },
    { id: 2, content: "b", quote: "a", likes: 0, stale: false },
  ])
  assert.ok(await chat.page.isHidden("#connection-lost"))
  assert.equal(await chat.unsentCount, "")
}

test("the chat works in a Chromium that blocks all site data, which goes on blocking it", async () => {
  const profile = await mkdtemp(`${tmpdir()}/profile-`)
  await mkdir(`${profile}/Default`)
  await writeFile(`${profile}/Default/Preferences`, JSON.stringify({ profile: { default_content_setting_values: { cookies: 2 } } }))
  const context = await chromium.launchPersistentContext(profile, launchOptions)
  chat = await ChatPage.of(context)
  await chat.goto(server.url)
  await chatWorks()
  assert.deepEqual(await named(), ["SecurityError", "SecurityError"])
  await chat.close()
  await rm(profile, { recursive: true, force: true, maxRetries: 10 })
})

/** Opens the page after `change` has been done to its window. */
async function openWith(options, change, argument) {
  chat = await ChatPage.blank(browser, options)
  await chat.page.addInitScript(change, argument)
  await chat.goto(server.url)
}

const throwing = stores => {
  for (const store of stores) Object.defineProperty(window, store, { get() { throw new DOMException("blocked", "SecurityError") } })
}

for (const [transport, options] of [["WebSockets", {}], ["long polling", { webSockets: false }]]) {
  test(`it works over ${transport} where both stores throw`, async () => {
    await openWith(options, throwing, stores)
    await chatWorks()
    assert.deepEqual(await named(), ["SecurityError", "SecurityError"])
    await chat.close()
  })
}

test("it works where there are no stores", async () => {
  await openWith({}, stores => {
    for (const store of stores) Object.defineProperty(window, store, { value: null })
  }, stores)
  await chatWorks()
  await chat.close()
})

test("it works where nothing can be stored, and a full store hides nothing", async () => {
  await openWith({}, () => {
    for (const name of ["getItem", "setItem", "removeItem"]) Storage.prototype[name] = () => { throw new DOMException("full", "QuotaExceededError") }
  })
  await chatWorks()
  await chat.close()
})

test("an unsent message is said to be lost with a reload where it can't be stored", async () => {
  await openWith({}, throwing, stores)
  await server.kill()
  await chat.page.locator("#connection-lost").waitFor()
  await chat.post("unsent")
  await until(() => chat.unsentCount, "未送信: メッセージ 1 件。接続が戻ると送信します。再読み込みすると失われます。")
  await server.startAgain()
  await chat.shows("unsent")
  await until(() => chat.unsentCount, "")
  await chat.close(/^WebSocket connection to .* failed/)
})

test("a page that can't be started says so", async () => {
  chat = await ChatPage.blank(browser)
  await chat.page.addInitScript(stores => {
    for (const store of stores) Object.defineProperty(window, store, { get() { throw new DOMException("blocked", "SecurityError") }, configurable: false })
  }, stores)
  await chat.page.goto(server.url)
  const notice = chat.page.getByRole("status").filter({ hasText: "チャットを開始できませんでした" })
  await notice.waitFor()
  await chat.post("kept in view")
  await until(async () => (await chat.unsent()).map(({ content }) => content), ["kept in view"])
  await chat.close(/SecurityError/)
})

test("a page whose app.js is not there says so", async () => {
  chat = await ChatPage.blank(browser)
  await chat.page.route("**/assets/app.js", route => route.abort())
  await chat.page.goto(server.url)
  await chat.page.getByRole("status").filter({ hasText: "チャットを開始できませんでした" }).waitFor()
  await chat.close(/^Failed to load resource/)
})
