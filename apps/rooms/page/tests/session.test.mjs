// The session: its token is renewed before it expires, and when it ends in one tab it ends in all.
import assert from "node:assert/strict"
import { after, afterEach, before, test } from "node:test"
import { until } from "../../../../tests/clients/until.mjs"
import { launch, Reader } from "./reader.mjs"
import { Server } from "./server.mjs"

const RENEW_MS = 8 * 60_000
/** How long an answer of the server may take. */
const PATIENCE_MS = 15_000

let browser, server, ann

before(async () => {
  browser = await launch()
  server = await Server.start()
})
afterEach(() => ann?.leave())
after(async () => {
  await browser.close()
  await server.stop()
})

/** A user whose page has a clock that is moved by hand, and the tokens of the page's connections and of the server's answers. */
async function arrive(name) {
  ann = await Reader.arrive(browser, server.url)
  await ann.page.clock.install()
  ann.tokens = []
  ann.connections = []
  ann.page.on("response", async response => {
    if (response.url().endsWith("/api/session")) ann.tokens.push((await response.json().catch(() => ({}))).token ?? null)
  })
  await ann.page.routeWebSocket(/\/socket\//, socket => {
    const bearer = socket.protocols().find(name => name.startsWith("base64url.bearer.phx."))
    ann.connections.push(Buffer.from(bearer.split(".").at(-1), "base64url").toString())
    ann.socket = { ours: socket, theirs: socket.connectToServer() }
  })
  await ann.signUp(name)
  await ann.createRoom(`room of ${name}`)
}

/** The page's end of the connection is closed, as after a sleep of the machine. */
async function lose() {
  const { ours, theirs } = ann.socket
  await theirs.close()
  await ours.close()
}

test("a first visit leaves the console clean", async () => {
  ann = await Reader.arrive(browser, server.url)
  await ann.button("Log in").waitFor()
  await ann.page.reload()
  await ann.button("Log in").waitFor()
  assert.deepEqual(ann.errors, [])
})

test("the token is renewed before it expires, and the next connection has the new one", async () => {
  await arrive("Bea")
  const before = ann.tokens.length
  await ann.page.clock.fastForward(RENEW_MS)
  await until(() => ann.tokens.length, before + 1)
  const newest = ann.tokens.at(-1)
  await ann.page.route("**/api/session", route => route.abort("internetdisconnected"))
  assert.notEqual(newest, ann.connections.at(-1))
  await lose()
  await until(async () => {
    await ann.page.clock.fastForward(1000)
    return ann.connections.length
  }, 2)
  assert.equal(ann.connections.at(-1), newest)
  await ann.says("with the new token")
})

test("after a long sleep the expired token is refused, and the page gets another by itself", async () => {
  await arrive("Cho")
  await ann.page.evaluate(() => { window.isSamePage = true })
  let answer = "expired"
  const asked = { expired: 0, never: 0, real: 0 }
  await ann.page.route("**/api/session", async route => {
    asked[answer] += 1
    if (answer === "real") return route.continue()
    // a request that was sent before the network was there gets no answer
    if (answer === "never") return answer = "real"
    const response = await route.fetch()
    await route.fulfill({ response, json: { ...await response.json(), token: "expired" } })
  })
  await ann.page.clock.fastForward(RENEW_MS)
  await until(() => ann.tokens.at(-1), "expired")
  await ann.context.setOffline(true)
  await ann.page.getByText("You are offline.").waitFor()
  answer = "never"
  await ann.context.setOffline(false)
  await ann.write("written after the sleep")
  await until(async () => {
    await ann.page.clock.fastForward(PATIENCE_MS / 5)
    return ann.message("written after the sleep").count()
  }, 1)
  assert.ok(ann.connections.includes("expired"))
  assert.equal(asked.never, 1)
  assert.ok(await ann.page.evaluate(() => window.isSamePage))
  await ann.page.getByText("You are offline.").waitFor({ state: "detached" })
})

test("a tab that cannot reach the server ends with the tab of the same browser that logs out", async () => {
  await arrive("Dia")
  const tab = await Reader.tab(ann.context, server.url)
  await tab.room("room of Dia").waitFor()
  // neither its connection nor a request can tell it
  await ann.page.route("**/api/session", route => route.abort("internetdisconnected"))
  await ann.page.routeWebSocket(/\/socket\//, () => {})
  await tab.page.locator("nav").getByRole("button", { name: "Settings" }).click()
  await tab.button("Log out").click()
  await tab.button("Log in").waitFor()
  await ann.page.getByText("Your session has ended").waitFor()
  assert.equal(await ann.page.locator("nav, textarea").count(), 0)
  await ann.screenshot("desk-logged-out-elsewhere")

  // and who logs in again in one tab has logged in in the other
  await ann.page.unroute("**/api/session")
  await tab.login("Dia")
  await ann.page.locator("nav").waitFor()
  assert.deepEqual(tab.errors, [])
})

test("the next user of a browser does not see what the one before has looked for", async () => {
  ann = await Reader.signedUp(browser, server.url, "Eva")
  await ann.createRoom("secrets")
  await ann.says("the treasure is under the tree")
  const search = () => ann.page.locator("nav").getByRole("button", { name: "Search" }).click()
  await search()
  await ann.dialog.getByLabel("Words to look for").fill("treasure")
  await ann.page.keyboard.press("Enter")
  await ann.dialog.locator("mark").waitFor()
  await ann.page.keyboard.press("Escape")
  await ann.page.locator("nav").getByRole("button", { name: "Settings" }).click()
  await ann.button("Log out").click()
  await ann.signUp("Flo")
  await search()
  assert.equal(await ann.dialog.getByLabel("Words to look for").inputValue(), "")
  assert.equal(await ann.dialog.locator("mark").count(), 0)
})
