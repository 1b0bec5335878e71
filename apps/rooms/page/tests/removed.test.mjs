// A user whom an administrator has removed while they were away: the page tells them when they come back.
import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import { launch, Reader } from "./reader.mjs"
import { Server } from "./server.mjs"

let browser, server

before(async () => {
  [browser, server] = await Promise.all([launch(), Server.start()])
})
after(async () => {
  await browser.close()
  await server.stop()
})

test("who comes back after a removal is told why, also when the page is loaded again", async () => {
  const ann = await Reader.signedUp(browser, server.url, "Ann")
  const ben = await Reader.signedUp(browser, server.url, "Ben")
  await ben.page.goto("about:blank")
  await ann.page.locator("nav").getByRole("button", { name: "New direct message" }).click()
  await ann.dialog.getByRole("button", { name: "Remove Ben from the team" }).click()
  await ann.dialog.getByRole("button", { name: "Remove" }).click()
  await ann.dialog.getByRole("button", { name: "Remove Ben from the team" }).waitFor({ state: "detached" })
  for (let visit = 0; visit < 2; visit++) {
    await ben.page.goto(server.url)
    await ben.page.getByText("An administrator has removed your account.").waitFor()
  }
  await ben.page.getByLabel("Name").fill("Ben")
  await ben.page.getByLabel("Password").fill("correct horse")
  await ben.button("Log in").click()
  await ben.page.getByText("Name or password is wrong.").waitFor()
  assert.equal(await ben.page.getByText("Your session has ended").count(), 0)
  // the browser tells of these answers in its console
  ben.errors = ben.errors.filter(text => !/status of 401/.test(text))
  await ben.leave()
  await ann.leave()
})
