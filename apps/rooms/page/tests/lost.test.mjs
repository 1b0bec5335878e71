// Broadcasts that are lost between the server's nodes: whoever comes back to the page sees what they would have told.
import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import { until } from "../../../../tests/clients/until.mjs"
import { launch, Reader } from "./reader.mjs"
import { Server } from "./server.mjs"

let browser, server, ann, ben
let isLosing = false
let lost = 0

before(async () => {
  browser = await launch()
  server = await Server.start()
  ann = await Reader.signedUp(browser, server.url, "Ann")
  await ann.createRoom("garden")
  const garden = await ann.invitation()
  await ann.createRoom("kitchen")
  ben = await Reader.arrive(browser, await ann.invitation())
  await ben.page.routeWebSocket(/\/socket\//, socket => {
    const theirs = socket.connectToServer()
    theirs.onMessage(message => {
      if (isLosing && /"(unread|change|room)",/.test(String(message))) lost += 1
      else socket.send(message)
    })
  })
  await ben.signUp("Ben")
  await ben.isIn("kitchen")
  await ben.page.evaluate(hash => { location.hash = hash }, new URL(garden).hash)
  await ben.isIn("garden")
})
after(async () => {
  await ann.leave()
  await ben.leave()
  await browser.close()
  await server.stop()
})

const count = () => ben.room("kitchen").textContent().then(text => Number(/(\d+) unread/.exec(text)?.[1] ?? 0))

test("what was lost is counted and shown when the window gets the focus again", async () => {
  await ann.says("seen as unread")
  await until(count, 1)
  isLosing = true
  await ann.says("never told")
  await ann.enter("garden")
  await ann.says("said in the open room")
  await until(() => lost >= 3, true)
  isLosing = false
  assert.equal(await count(), 1)
  assert.equal(await ben.message("said in the open room").count(), 0)
  await ben.page.evaluate(() => dispatchEvent(new Event("focus")))
  await until(count, 2)
  await ben.sees("said in the open room")
})
