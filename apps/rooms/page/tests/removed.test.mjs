// A user whom an administrator has removed: the page tells others, and the user who comes back.
import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import { launch, Reader } from "./reader.mjs"
import { Server } from "./server.mjs"

let browser, server, ann

before(async () => {
  [browser, server] = await Promise.all([launch(), Server.start()])
  ann = await Reader.signedUp(browser, server.url, "Ann")
})
after(async () => {
  await ann.leave()
  await browser.close()
  await server.stop()
})

test("to whom was removed nobody writes: the direct room says why, and what was written there stays", async () => {
  const cho = await Reader.signedUp(browser, server.url, "Cho")
  const composer = ann.page.locator("main form")
  await ann.page.locator("nav").getByRole("button", { name: "New direct message" }).click()
  await ann.dialog.getByRole("button", { name: "Message Cho" }).click()
  await ann.isIn("Cho")
  await ann.says("Lunch?")
  await ann.page.locator("nav").getByRole("button", { name: "New direct message" }).click()
  await ann.dialog.getByRole("button", { name: "Remove Cho from the team" }).click()
  await ann.dialog.getByRole("button", { name: "Remove" }).click()
  await ann.dialog.getByRole("button", { name: "Remove Cho from the team" }).waitFor({ state: "detached" })
  await ann.page.keyboard.press("Escape")
  for (let visit = 0; visit < 2; visit++) {
    await ann.page.locator("main header").getByText("removed from the team").waitFor()
    await ann.page.getByText("Cho was removed from the team and cannot read new messages.").waitFor()
    await ann.sees("Lunch?")
    await composer.waitFor({ state: "detached" })
    assert.equal(await ann.message("Lunch?").getByRole("button", { name: "Reply", includeHidden: true }).count(), 0)
    await ann.page.reload()
  }
  await ann.act("Lunch?", "Edit")
  await ann.write("Lunch, some other day")
  await ann.sees("Lunch, some other day")
  await composer.waitFor({ state: "detached" })
  await ann.hasNoBarriers("a direct room with a user who was removed")
  await cho.context.close()
})

test("who comes back after a removal is told why, also when the page is loaded again", async () => {
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
})
