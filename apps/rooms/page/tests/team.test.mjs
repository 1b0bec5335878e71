// A team begins: two strangers and three browsers, one of them a phone.
import assert from "node:assert/strict"
import { resolve } from "node:path"
import { after, before, test } from "node:test"
import { launch, PHONE, Reader } from "./reader.mjs"
import { Server } from "./server.mjs"
import { until } from "../../../../tests/clients/until.mjs"

const picture = resolve(import.meta.dirname, "picture.png")

let browser, server, ann, ben, phone

before(async () => {
  browser = await launch()
  server = await Server.start()
})
after(async () => {
  await browser.close()
  await server.stop()
})

test("a stranger signs up, and is the administrator of an empty team", async () => {
  ann = await Reader.signedUp(browser, server.url, "Ann")
  await ann.page.getByRole("heading", { name: "Welcome, Ann" }).waitFor()
  await ann.screenshot("desk-welcome")
})

test("a room is created, and an invitation brings another stranger into it, who signs up first", async () => {
  await ann.createRoom("garden", { isPrivate: true })
  const link = await ann.invitation()
  assert.match(link, /\/#\/join\/\S+$/)
  ben = await Reader.arrive(browser, link)
  await ben.page.getByText("You were invited").waitFor()
  await ben.signUp("Ben Lee")
  await ben.isIn("garden")
  await ann.page.getByRole("button", { name: "Members: 2 members" }).waitFor()
})

test("the same user comes by a phone, and by an invitation that is not valid", async () => {
  phone = await Reader.arrive(browser, `${server.url}/#/join/nonsense`, PHONE)
  await phone.button("You have an account? Log in").click()
  await phone.login("Ben Lee")
  await phone.page.getByText("This invitation is not valid any more.").waitFor()
  await phone.room("garden").tap()
  await phone.isIn("garden")
})

test("a name is taken whatever its case, and a wrong password is told", async () => {
  const stranger = await Reader.arrive(browser, server.url)
  await stranger.page.getByLabel("Name").fill("ann")
  await stranger.page.getByLabel("Password").fill("not the password")
  await stranger.button("Log in").click()
  await stranger.page.getByText("Name or password is wrong.").waitFor()
  await stranger.button("New here? Sign up").click()
  await stranger.button("Sign up").click()
  await stranger.page.getByText("This name is taken.").waitFor()
  await stranger.context.close()
})

test("messages are seen by everybody at once, Markdown and all", async () => {
  await ann.says("The **roses** need `water`, see https://example.com/roses", "The roses need water")
  for (const reader of [ben, phone]) {
    await reader.sees("The roses need water")
    assert.equal(await reader.message("The roses").locator("strong").textContent(), "roses")
    assert.equal(await reader.message("The roses").locator("a").getAttribute("href"), "https://example.com/roses")
  }
})

test("a message of another is announced to screen readers, and one's own is not", async () => {
  await ben.says("I have a *watering can*", "I have a watering can")
  await until(() => ann.log.textContent(), "Ben Lee: I have a watering can")
  assert.doesNotMatch(await ben.log.textContent(), /watering/)
})

test("who types is told to the others only", async () => {
  await phone.field.pressSequentially("Typing")
  await ann.page.getByText("Ben Lee is typing…").waitFor()
  assert.equal(await ben.page.getByText("is typing…").count(), 0)
  await phone.field.fill("")
})

test("a reply shows what it answers, and leads there", async () => {
  await phone.act("The roses", "Reply")
  await phone.page.getByText("Reply to Ann", { exact: true }).waitFor()
  await phone.says("On my way")
  await ann.sees("On my way")
  const quote = ann.message("On my way").getByRole("button", { name: "In reply to Ann" })
  assert.match(await quote.textContent(), /The roses need water/)
  await quote.click()
  await ann.focuses("li[data-id]:has(strong)")
})

test("an edit is seen by everybody, in quotes too", async () => {
  await ann.act("The roses", "Edit")
  assert.match(await ann.field.inputValue(), /\*\*roses\*\*/)
  await ann.write("The **tulips** need water")
  for (const reader of [ben, phone]) {
    await reader.sees("The tulips need water")
    assert.match(await reader.message("The tulips").textContent(), /edited/)
    await until(async () => /The tulips/.test(await reader.message("On my way").getByRole("button", { name: "In reply to Ann" }).textContent()), true)
  }
})

test("reactions are counted, and taken back", async () => {
  await ann.react("On my way", "🎉")
  await phone.act("On my way", "🎉")
  await until(() => ben.reactions("On my way"), ["*🎉 2"])
  await ann.message("On my way").locator("[aria-pressed]").click()
  await until(() => phone.reactions("On my way"), ["*🎉 1"])
  await until(() => ann.reactions("On my way"), ["🎉 1"])
})

test("a picture is shown before it is sent, and then to everybody", async () => {
  await ben.page.locator("input[type=file]").setInputFiles(picture)
  await ben.page.locator("canvas").waitFor()
  await until(() => ben.button("Send").isEnabled(), true)
  await ben.says("My can")
  for (const reader of [ann, phone]) {
    const img = reader.message("My can").locator("img")
    await img.waitFor()
    await until(() => img.evaluate(img => [img.complete, img.naturalWidth > 0]), [true, true])
  }
  await ann.message("My can").locator("img").click()
  await ann.dialog.locator("img").waitFor()
  await ann.page.keyboard.press("Escape")
  await ann.dialog.waitFor({ state: "detached" })
})

test("a picture that is too large, or none, is refused before it is sent", async () => {
  await ben.page.locator("input[type=file]").setInputFiles({ name: "x.png", mimeType: "image/png", buffer: Buffer.alloc((5 << 20) + 1) })
  await ben.page.getByText("A picture can have at most 5 MB.").waitFor()
  await ben.page.locator("input[type=file]").setInputFiles({ name: "x.png", mimeType: "image/png", buffer: Buffer.from("<svg/>") })
  await ben.page.getByText("Only PNG, JPEG, GIF and WebP").waitFor()
  assert.equal(await ben.page.locator("canvas").count(), 0)
  ben.errors = ben.errors.filter(text => !/status of 415/.test(text))
})

test("a deleted message is gone for everybody", async () => {
  await ben.says("Secret of the can")
  await phone.sees("Secret of the can")
  await ben.act("Secret of the can", "Delete")
  await ben.dialog.getByRole("button", { name: "Delete" }).click()
  for (const reader of [ann, ben, phone]) await reader.message("Secret of the can").waitFor({ state: "detached" })
  assert.equal(await ann.page.getByText("This message was deleted.").count(), 1)
  await ann.screenshot("desk")
  await phone.screenshot("phone")
})

test("what was not seen is counted, mentions apart, and is read on every device at once", async () => {
  await ann.createRoom("kitchen")
  await phone.page.getByRole("link", { name: "Back to the rooms" }).tap()
  await phone.page.locator("nav").getByRole("button", { name: "Browse rooms" }).tap()
  await phone.dialog.getByRole("button", { name: "Join: kitchen" }).tap()
  await phone.isIn("kitchen")
  await phone.page.getByRole("link", { name: "Back to the rooms" }).tap()
  await ann.says("Tea is ready")
  await ann.says("@ben lee it gets cold")
  for (const reader of [ben, phone]) {
    await until(() => reader.room("kitchen").textContent().then(text => text.replace(/\s+/g, " ").trim()), "kitchen 1 , 2 unread, 1 for you")
  }
  await until(() => ben.page.title(), "(1) garden · Rooms")
  await phone.screenshot("phone-rooms")
  await phone.room("kitchen").tap()
  await phone.page.locator("li.new").waitFor()
  await phone.sees("it gets cold")
  for (const reader of [ben, phone]) await until(() => reader.room("kitchen").textContent().then(text => text.trim()), "kitchen")
})

test("direct messages show who is there", async () => {
  await ann.page.locator("nav").getByRole("button", { name: "New direct message" }).click()
  await ann.dialog.getByRole("button", { name: "Message Ben Lee" }).click()
  await ann.isIn("Ben Lee")
  await ann.says("Just for you")
  await until(() => ben.room("Ann").textContent().then(text => /1 unread/.test(text)), true)
  const dot = ann.room("Ben Lee").locator("[data-status]")
  await until(() => dot.getAttribute("data-status"), "online")
  await phone.leave()
  await until(() => dot.getAttribute("data-status"), "online")
  await ben.leave()
  await until(() => dot.getAttribute("data-status"), "offline")
})

test("a search marks what it finds, and leads there", async () => {
  await ann.page.locator("nav").getByRole("button", { name: "Search" }).click()
  await ann.dialog.getByLabel("Words to look for").fill("tulips")
  await ann.page.keyboard.press("Enter")
  await until(() => ann.dialog.locator("mark").allTextContents(), ["tulips"])
  await ann.screenshot("desk-search")
  await ann.dialog.locator("li button").click()
  await ann.isIn("garden")
  await ann.focuses("li[data-id]:has(strong)")
  await ann.leave()
})
