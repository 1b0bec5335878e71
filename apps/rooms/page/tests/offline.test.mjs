// The connection is lost in every way, and nothing else is.
import assert from "node:assert/strict"
import { after, afterEach, before, test } from "node:test"
import { DESK, launch, Reader } from "./reader.mjs"
import { Server } from "./server.mjs"
import { until } from "../../../../tests/clients/until.mjs"

let browser, server, ann, ben

before(async () => {
  browser = await launch()
  server = await Server.start()
  ann = await Reader.signedUp(browser, server.url, "Ann")
  await ann.createRoom("garden")
  ben = await Reader.arrive(browser, await ann.invitation())
  await ben.signUp("Ben")
  await ben.isIn("garden")
})
after(async () => {
  await ann.leave()
  await browser.close()
  await server.stop()
})
afterEach(() => ann.page.keyboard.press("Escape"))

const banner = reader => reader.page.getByText("You are offline.")

test("offline, messages are kept and marked; back, they are sent in their order, and what was missed is there", async () => {
  await ann.says("before")
  await ben.sees("before")
  await ben.context.setOffline(true)
  await banner(ben).waitFor()
  await ben.write("first from a tunnel")
  await ben.write("second from a tunnel")
  await ben.unsent("second from a tunnel").getByText("Not sent yet").waitFor()
  await ben.screenshot("desk-offline")
  await ann.says("while Ben was away")
  await ann.act("before", "Edit")
  await ann.write("before, edited")
  await ann.sees("before, edited")
  await ben.context.setOffline(false)
  await banner(ben).waitFor({ state: "detached" })
  const all = ["before, edited", "while Ben was away", "first from a tunnel", "second from a tunnel"]
  await until(() => ben.texts(), all)
  await until(() => ann.texts(), all)
  assert.equal(await ben.page.locator("li[data-state]").count(), 0)
})

test("a server that is killed and started again is back by itself, with everything", async () => {
  await server.kill()
  for (const reader of [ann, ben]) await banner(reader).waitFor()
  await ann.write("written while it was dead")
  await ann.unsent("written while it was dead").waitFor()
  await server.startAgain()
  for (const reader of [ann, ben]) {
    await banner(reader).waitFor({ state: "detached" })
    await reader.sees("written while it was dead")
  }
  await ben.says("alive again")
  await ann.sees("alive again")
  const texts = await ann.texts()
  assert.equal(new Set(texts).size, texts.length, String(texts))
})

test("a server that is killed in the middle of messages loses none and doubles none", async () => {
  const texts = Array.from({ length: 12 }, (_, i) => `in the middle ${i}`)
  for (const [i, text] of texts.entries()) {
    await ann.write(text)
    if (i === 6) await server.kill()
  }
  await server.startAgain()
  for (const reader of [ann, ben]) {
    await until(async () => (await reader.texts()).filter(text => text.startsWith("in the middle")), texts)
  }
})

test("a message of one tab is in the other, and an unsent one survives its tab and is sent once", async () => {
  const tab = await Reader.tab(ben.context, ben.page.url())
  await tab.isIn("garden")
  await tab.sees("alive again")
  await tab.says("from the second tab")
  await ben.sees("from the second tab")
  await server.kill()
  await banner(tab).waitFor()
  await tab.write("from a tab that is closed")
  await tab.unsent("from a tab that is closed").waitFor()
  await tab.page.close()
  await server.startAgain()
  await ben.page.reload()
  await ben.sees("from a tab that is closed")
  await ann.sees("from a tab that is closed")
  assert.equal((await ann.texts()).filter(text => text === "from a tab that is closed").length, 1)
  await until(() => ben.page.evaluate(() => Object.keys(localStorage).filter(key => key.includes("unsent"))), [])
})

test("a user who logs out elsewhere is told so", async () => {
  const cho = await Reader.signedUp(browser, server.url, "Cho")
  const tab = await Reader.tab(cho.context, server.url)
  await tab.page.locator("nav").getByRole("button", { name: "Settings" }).click()
  await tab.button("Log out").click()
  await tab.button("Log in").waitFor()
  assert.equal(await tab.page.getByText("Your session has ended").count(), 0)
  await cho.page.getByText("Your session has ended").waitFor()
  await cho.login("Cho")
  await cho.leave()
})

test("a user whom the administrator removes is thrown out with a reason, and cannot come back", async () => {
  await ann.page.locator("nav").getByRole("button", { name: "New direct message" }).click()
  await ann.dialog.getByRole("button", { name: "Remove Ben from the team" }).click()
  await ann.dialog.getByRole("button", { name: "Remove" }).click()
  await ben.page.getByText(/administrator has removed your account/).waitFor()
  await ben.screenshot("desk-removed")
  await ben.page.getByLabel("Name").fill("Ben")
  await ben.page.getByLabel("Password").fill("correct horse")
  await ben.button("Log in").click()
  await ben.page.getByText("Name or password is wrong.").waitFor()
  await ben.leave()
  await ann.says("Ben is gone")
})

test("a user who is removed from a room does not see it any more", async () => {
  const dia = await Reader.arrive(browser, await ann.invitation(), DESK)
  await dia.signUp("Dia")
  await dia.isIn("garden")
  await ann.page.getByRole("button", { name: /^Members/ }).click()
  await ann.dialog.getByRole("button", { name: "Remove Dia from the room" }).click()
  await dia.page.getByText("This room does not exist, or you are not a member.").waitFor()
  assert.equal(await dia.room("garden").count(), 0)
  await dia.leave()
})
