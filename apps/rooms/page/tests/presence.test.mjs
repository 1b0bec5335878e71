// Who is away: a user of whom nobody sits at any device. The clocks of the pages are moved, not waited for.
import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import { until } from "../../../../tests/clients/until.mjs"
import { launch, PHONE, Reader } from "./reader.mjs"
import { Server } from "./server.mjs"

const AWAY_MS = 5 * 60_000

let browser, server, ann, desk, phone
/** What Ann's page was told of presences. */
const told = []

before(async () => {
  browser = await launch()
  server = await Server.start()
  ann = await Reader.arrive(browser, server.url)
  ann.page.on("websocket", socket => socket.on("framereceived", ({ payload }) => {
    if (String(payload).includes("presence_diff")) told.push(String(payload))
  }))
  await ann.signUp("Ann")
  await ann.createRoom("garden")
  desk = await Reader.arrive(browser, await ann.invitation())
  await desk.page.clock.install()
  await desk.signUp("Ben")
  await desk.isIn("garden")
  phone = await Reader.arrive(browser, server.url, PHONE)
  await phone.page.clock.install()
  await phone.login("Ben")
  await phone.room("garden").waitFor()
  await ann.page.locator("nav").getByRole("button", { name: "New direct message" }).click()
  await ann.dialog.getByRole("button", { name: "Message Ben" }).click()
  await ann.isIn("Ben")
})
after(async () => {
  for (const reader of [desk, phone, ann]) await reader.leave()
  await browser.close()
  await server.stop()
})

const status = () => ann.page.locator("main header .status").textContent()
const pass = (reader, ms) => reader.page.clock.fastForward(ms)
const touch = reader => reader.page.mouse.move(10 + Math.random() * 100, 10)

test("a user is online while one device is used, and away when none is", async () => {
  await until(status, "online")
  await pass(desk, AWAY_MS)
  await until(() => told.some(diff => /"away"/.test(diff) && /"desktop"/.test(diff)), true)
  assert.equal(await status(), "online")
  await pass(phone, AWAY_MS)
  await until(status, "away")
  await ann.screenshot("desk-away")
})

test("a touch of one device brings them back, at once", async () => {
  await touch(phone)
  await until(status, "online")
  await pass(phone, AWAY_MS - 1000)
  await touch(phone)
  await pass(phone, AWAY_MS - 1000)
  assert.equal(await status(), "online")
  await pass(phone, 1000)
  await until(status, "away")
  await touch(desk)
  await until(status, "online")
})

test("who is away when the connection is lost is away when it is back", async () => {
  await pass(desk, AWAY_MS)
  await until(status, "away")
  await server.kill()
  await ann.page.getByText("You are offline.").waitFor()
  await server.startAgain()
  await ann.page.getByText("You are offline.").waitFor({ state: "detached" })
  // their clocks stand still: what they wait for before the next try passes here
  for (const reader of [desk, phone]) {
    await until(async () => {
      await pass(reader, 1000)
      return reader.page.getByText("You are offline.").count()
    }, 0)
  }
  await until(status, "away")
  await touch(desk)
  await until(status, "online")
})
