// What a page meets now and then: a text that was cut inside an emoji, an address that is none, a storage
// that something else has written to, a server without https.
import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import { launch, Reader } from "./reader.mjs"
import { Server } from "./server.mjs"

let browser, server

before(async () => {
  [browser, server] = await Promise.all([launch("--host-resolver-rules=MAP chat.test 127.0.0.1"), Server.start()])
})
after(async () => {
  await browser.close()
  await server.stop()
})

test("half an emoji does not cost the connection", async () => {
  const ann = await Reader.signedUp(browser, server.url, "Ann")
  await ann.createRoom("halves")
  await ann.page.getByText("This is the beginning of halves. Nothing here yet. Say hello!").waitFor()
  let connections = 0
  ann.page.on("websocket", () => { connections += 1 })
  await ann.field.evaluate(field => {
    field.value = "half \ud83d"
    field.dispatchEvent(new Event("input", { bubbles: true }))
  })
  await ann.field.press("Enter")
  await ann.sees("half \ufffd")
  await ann.says("and on")
  assert.equal(connections, 0)
  await ann.leave()
})

test("an address that is none shows the page", async () => {
  for (const hash of ["#/join/%", "#/room/%E0%A4%A"]) {
    const ben = await Reader.arrive(browser, `${server.url}/${hash}`)
    await ben.button("Log in").waitFor()
    await ben.leave()
  }
})

test("a broken storage costs no more than what is broken", async () => {
  const dia = await Reader.signedUp(browser, server.url, "Dia")
  await dia.createRoom("keepsakes")
  await dia.context.setOffline(true)
  await dia.page.getByText("You are offline.").waitFor()
  await dia.write("kept")
  await dia.unsent("kept").waitFor()
  await dia.page.evaluate(() => {
    const key = Object.keys(localStorage).find(key => key.startsWith("rooms:unsent:"))
    const prefix = key.slice(0, key.lastIndexOf(":") + 1)
    for (const [i, junk] of ["no JSON", "", "null", "1", "[]", "{}", '{"nonce":"1","room_id":{},"text":"","at":""}'].entries()) {
      localStorage.setItem(`${prefix}junk${i}`, junk)
    }
    localStorage.setItem("rooms:language", "tlh")
    localStorage.setItem("rooms:theme", "sepia")
  })
  await dia.context.setOffline(false)
  await dia.page.reload()
  await dia.sees("kept")
  await dia.says("and on")
  assert.deepEqual(await dia.texts(), ["kept", "and on"])
  assert.equal(await dia.page.evaluate(() => document.documentElement.dataset.theme), "system")
  await dia.leave()
})

test("without https, messages are sent", async () => {
  const cho = await Reader.signedUp(browser, server.url.replace("127.0.0.1", "chat.test"), "Cho")
  assert.equal(await cho.page.evaluate(() => isSecureContext), false)
  await cho.createRoom("in the clear")
  await cho.says("hello")
  await cho.context.close()
})
