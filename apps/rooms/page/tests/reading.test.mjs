// For every reader: axe on every view, themes, languages, directions of writing, and texts that are attacks.
import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import { launch, PHONE, Reader } from "./reader.mjs"
import { Server } from "./server.mjs"
import { until } from "../../../../tests/clients/until.mjs"

let browser, server, ann, phone

before(async () => {
  browser = await launch()
  server = await Server.start()
})
after(async () => {
  await browser.close()
  await server.stop()
})

/** In light and in dark. */
async function hasNoBarriers(reader, where) {
  for (const colorScheme of ["light", "dark"]) {
    await reader.page.emulateMedia({ colorScheme })
    await reader.hasNoBarriers(`${where}, ${colorScheme}`)
  }
}

async function dialogHasNoBarriers(reader, where) {
  await reader.dialog.waitFor()
  await hasNoBarriers(reader, where)
  await reader.page.keyboard.press("Escape")
  await reader.dialog.waitFor({ state: "detached" })
}

test("axe finds nothing serious in the views of a desk", async () => {
  ann = await Reader.arrive(browser, server.url)
  await ann.button("Log in").waitFor()
  await hasNoBarriers(ann, "login")
  await ann.signUp("Ann")
  await ann.page.getByRole("heading", { name: "Welcome, Ann" }).waitFor()
  await hasNoBarriers(ann, "welcome")
  await ann.createRoom("garden")
  await hasNoBarriers(ann, "an empty room")
  await ann.says("A **text** with a [link](https://example.com), `code` and @Ann", "A text with")
  await ann.react("A text with", "🎉")
  await ann.act("A text with", "Reply")
  await ann.says("An answer")
  await ann.act("An answer", "Edit")
  await hasNoBarriers(ann, "a room")
  await ann.page.keyboard.press("Escape")
  await ann.field.pressSequentially("@")
  await ann.page.getByRole("option").first().waitFor()
  await hasNoBarriers(ann, "a mention")
  await ann.field.fill("")
})

test("axe finds nothing serious in the dialogs", async () => {
  for (const name of ["Search", "Browse rooms", "Create a room", "New direct message", "Settings"]) {
    await ann.page.locator("nav").getByRole("button", { name }).click()
    await dialogHasNoBarriers(ann, name)
  }
  for (const name of ["Members: 1 member", "Invite"]) {
    await ann.page.locator("main").getByRole("button", { name }).click()
    await dialogHasNoBarriers(ann, name)
  }
  await ann.page.keyboard.press("Control+k")
  await dialogHasNoBarriers(ann, "Go to a room")
  for (const name of ["React", "Delete"]) {
    await ann.act("An answer", name)
    await dialogHasNoBarriers(ann, name)
  }
})

test("a phone shows the list or a room, and axe finds nothing serious", async () => {
  phone = await Reader.arrive(browser, await ann.invitation(), PHONE)
  await phone.signUp("Ben")
  await phone.isIn("garden")
  assert.ok(await phone.page.locator("nav").isHidden())
  await phone.says("From a phone")
  await hasNoBarriers(phone, "a room on a phone")
  await phone.message("From a phone").locator(".text").tap()
  await dialogHasNoBarriers(phone, "what can be done on a phone")
  await phone.page.getByRole("link", { name: "Back to the rooms" }).tap()
  await phone.page.locator("nav").waitFor()
  assert.ok(await phone.page.locator("main").isHidden())
  await hasNoBarriers(phone, "the list on a phone")
})

test("what is touched on a phone is at least 44 pixels high and wide", async () => {
  const small = () => phone.page.locator("button:visible, nav a:visible, textarea:visible").evaluateAll(targets => targets
    .filter(target => !target.matches(".skip"))
    .map(target => [target.ariaLabel ?? target.textContent.trim(), target.getBoundingClientRect()])
    .filter(([, { width, height }]) => Math.round(width) < 44 || Math.round(height) < 44)
    .map(([name, { width, height }]) => `${name}: ${width}×${height}`))
  assert.deepEqual(await small(), [])
  await phone.room("garden").tap()
  await phone.isIn("garden")
  // in a line of text, targets may be smaller (WCAG 2.2, 2.5.8)
  assert.deepEqual((await small()).filter(target => !/^(In reply|🎉|React)/.test(target)), [])
})

test("a keyboard that opens on a phone does not cover the field, and the newest message stays in view", async () => {
  await phone.field.focus()
  await phone.page.setViewportSize({ width: 390, height: 480 })
  await until(() => phone.field.evaluate(field => field.getBoundingClientRect().bottom <= innerHeight), true)
  await until(() => phone.message("From a phone").evaluate(item => item.getBoundingClientRect().bottom <= document.querySelector("form").getBoundingClientRect().top), true)
  await phone.page.setViewportSize(PHONE.viewport)
})

test("Japanese is spoken to a browser that does, and can be chosen and left", async () => {
  const cho = await Reader.arrive(browser, server.url, { ...PHONE, locale: "ja-JP" })
  await cho.button("ログイン").waitFor()
  assert.equal(await cho.page.evaluate(() => document.documentElement.lang), "ja")
  await cho.hasNoBarriers("login in Japanese")
  await cho.screenshot("phone-login-japanese")
  await cho.button("English").tap()
  await cho.signUp("千恵")
  await cho.page.locator("nav").getByRole("button", { name: "Settings" }).tap()
  await cho.dialog.getByLabel("日本語").check()
  await cho.page.getByRole("heading", { name: "設定" }).waitFor()
  await cho.page.reload()
  await cho.page.getByRole("heading", { name: "ダイレクトメッセージ" }).waitFor()
  await cho.hasNoBarriers("the list in Japanese")
  await cho.leave()
})

test("the theme follows the system, or what was chosen", async () => {
  const background = () => ann.page.evaluate(() => getComputedStyle(document.querySelector("main")).backgroundColor)
  await ann.page.emulateMedia({ colorScheme: "light" })
  const light = await background()
  await ann.page.emulateMedia({ colorScheme: "dark" })
  const dark = await background()
  assert.notEqual(light, dark)
  await ann.page.locator("nav").getByRole("button", { name: "Settings" }).click()
  await ann.dialog.getByLabel("Light").check()
  await until(background, light)
  await ann.page.keyboard.press("Escape")
  await ann.page.reload()
  await ann.isIn("garden")
  assert.equal(await background(), light)
})

test("a text begins at the side where its language begins", async () => {
  await ann.says("مرحبا بكم في الحديقة")
  await ann.says("Welcome to the garden")
  const side = text => ann.message(text).locator(".text").evaluate(text => getComputedStyle(text).direction)
  assert.equal(await side("مرحبا"), "rtl")
  assert.equal(await side("Welcome"), "ltr")
})

test("no text is more than text", async () => {
  const attacks = [
    "<img src=x onerror=\"window.attacked = 1\">", "<script>window.attacked = 1</script>", "[x](javascript:window.attacked=1)",
    "![x](https://attacker.example/x.png)", "<svg onload=\"window.attacked = 1\">", "</div></li><iframe srcdoc=\"<script>parent.attacked = 1</script>\">",
    "[x](data:text/html,<script>window.attacked=1</script>)", "@Ann\"><img src=x onerror=\"window.attacked = 1\">",
  ]
  const requested = []
  ann.page.on("request", request => requested.push(request.url()))
  for (const [i, attack] of attacks.entries()) await ann.says(`${attack} attack-${i}`, `attack-${i}`)
  assert.equal(await ann.page.evaluate(() => window.attacked), undefined)
  const tags = await ann.page.locator("li[data-id] .text *").evaluateAll(all => [...new Set(all.map(({ localName }) => localName))].sort())
  assert.deepEqual(tags, ["a", "code", "p", "span", "strong"])
  for (const link of await ann.page.locator(".text a").all()) assert.match(await link.getAttribute("href"), /^https?:/)
  assert.deepEqual(requested.filter(url => !url.startsWith(server.url)), [])
})

test("a name is no more than a name", async () => {
  const eve = await Reader.arrive(browser, await ann.invitation())
  await eve.signUp("<b>Eve</b>\" onx='")
  await eve.isIn("garden")
  await eve.says("my name is a tag")
  await ann.sees("my name is a tag")
  assert.equal(await ann.message("my name is a tag").locator(".author").textContent(), "<b>Eve</b>\" onx='")
  await ann.says("@<b>Eve</b>\" onx=' you?", "you?")
  assert.equal(await ann.message("you?").locator("b").count(), 0)
  await eve.leave()
  await phone.leave()
  await ann.leave()
})
