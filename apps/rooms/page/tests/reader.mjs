// A user in a tab: what they see and do.
import assert from "node:assert/strict"
import { mkdir, readFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { resolve } from "node:path"
import { chromium } from "playwright-core"
import { until } from "../../../../tests/clients/until.mjs"

const screenshots = resolve(import.meta.dirname, "../../../../target/screenshots/rooms")
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")

export const PASSWORD = "correct horse"
export const DESK = { viewport: { width: 1280, height: 800 }, locale: "en-US" }
export const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, locale: "en-US" }

export const launch = (...args) => chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", ...args],
})

/** What the browser's console tells of requests that the page makes in vain on purpose. */
const EXPECTED = /WebSocket connection to|ERR_CONNECTION|ERR_INTERNET_DISCONNECTED|ERR_EMPTY_RESPONSE|ERR_SOCKET/

export class Reader {
  /** Errors of the console (violations of the CSP among them) and uncaught exceptions. */
  errors = []

  /** A browser of their own. */
  static async arrive(browser, url, options = DESK) {
    return Reader.tab(await browser.newContext(options), url)
  }

  /** A tab of a browser. */
  static async tab(context, url) {
    const reader = new Reader()
    reader.context = context
    reader.page = await context.newPage()
    reader.page.setDefaultTimeout(20_000)
    reader.page.on("console", message => {
      if (message.type() === "error" && !EXPECTED.test(message.text())) reader.errors.push(message.text())
    })
    reader.page.on("pageerror", error => reader.errors.push(String(error)))
    await reader.page.goto(url)
    return reader
  }

  static async signedUp(browser, url, name, options) {
    const reader = await Reader.arrive(browser, url, options)
    await reader.signUp(name)
    return reader
  }

  async signUp(name) {
    const toSignUp = this.button("New here? Sign up")
    await this.button("Sign up", "Log in").first().waitFor()
    if (await toSignUp.isVisible()) await toSignUp.click()
    await this.#enter(name, "Sign up")
  }

  login(name) {
    return this.#enter(name, "Log in")
  }

  async #enter(name, button) {
    this.name = name
    await this.page.getByLabel("Name").fill(name)
    await this.page.getByLabel("Password").fill(PASSWORD)
    await this.page.getByRole("button", { name: button, exact: true }).click()
    await this.page.locator("nav").waitFor({ state: "attached" })
  }

  button(...names) {
    const [first, ...others] = names.map(name => this.page.getByRole("button", { name, exact: true }))
    return others.reduce((all, one) => all.or(one), first)
  }

  get dialog() { return this.page.getByRole("dialog") }
  get field() { return this.page.locator("textarea") }
  get log() { return this.page.getByRole("log") }

  /** The link to a room in the list. */
  room(name) { return this.page.locator("nav a", { has: this.page.locator("bdi", { hasText: new RegExp(`^${name}$`) }) }) }

  async createRoom(name, { isPrivate = false } = {}) {
    await this.page.locator("nav").getByRole("button", { name: "Create a room" }).click()
    await this.dialog.getByLabel("Name of the room").fill(name)
    if (isPrivate) await this.dialog.getByRole("checkbox").check()
    await this.dialog.getByRole("button", { name: "Create" }).click()
    await this.isIn(name)
  }

  async enter(name) {
    await this.room(name).click()
    await this.isIn(name)
  }

  /** Waits until the room is shown. */
  async isIn(name) {
    await this.page.locator("main h1", { hasText: name }).waitFor()
    await this.field.waitFor()
  }

  /** The link by which others join the room that is shown. */
  async invitation() {
    await this.page.locator("main").getByRole("button", { name: "Invite" }).click()
    const field = this.dialog.getByLabel("Invitation link")
    await field.waitFor()
    const link = await field.inputValue()
    await this.page.keyboard.press("Escape")
    return link
  }

  /** A message that the server has. */
  message(text) { return this.page.locator("li[data-id]", { has: this.page.locator(".text", { hasText: text }) }) }

  /** A message that the server does not have yet. */
  unsent(text) { return this.page.locator("li[data-state]", { hasText: text }) }

  async write(text) {
    await this.field.fill(text)
    await this.field.press("Enter")
  }

  /** Posts a message, and waits until the server has confirmed it. `seen` is its text without Markdown. */
  async says(text, seen = text) {
    await this.write(text)
    await this.sees(seen)
  }

  sees(text) { return this.message(text).waitFor() }

  /** The texts that are shown, of messages that the server has. */
  texts() { return this.page.locator("li[data-id]").evaluateAll(items => items.map(item => item.querySelector(".text")?.textContent.trim() ?? "")) }

  /** Presses one of a message's buttons, as a pointer or as a thumb does. */
  async act(text, button) {
    const message = this.message(text)
    if (await this.page.evaluate(() => matchMedia("(pointer: coarse)").matches)) {
      await message.locator(".text").tap({ position: { x: 3, y: 6 } })
      return this.dialog.getByRole("button", { name: button }).tap()
    }
    await message.hover()
    await message.getByRole("group").getByRole("button", { name: button }).click()
  }

  async react(text, emoji) {
    await this.act(text, "React")
    await this.dialog.getByRole("button", { name: emoji }).click()
  }

  /** The reactions to a message: ["👍 2", …]; those of this user begin with *. */
  reactions(text) {
    return this.message(text).locator("[aria-pressed]").evaluateAll(buttons => buttons.map(button =>
      (button.ariaPressed === "true" ? "*" : "") + Array.from(button.children, child => child.textContent).slice(0, 2).join(" ")))
  }

  async screenshot(name) {
    await mkdir(screenshots, { recursive: true })
    await this.page.screenshot({ path: `${screenshots}/${name}.png`, animations: "disabled" })
  }

  /** Fails if axe finds anything serious. */
  async hasNoBarriers(where) {
    if (!await this.page.evaluate(() => "axe" in window)) await this.page.evaluate(axe)
    const violations = await this.page.evaluate(async () => (await window.axe.run()).violations
      .filter(({ impact }) => ["serious", "critical"].includes(impact))
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html}\n${failureSummary}`).join("\n")}`))
    assert.deepEqual(violations, [], where)
  }

  /** Waits until the element that has the focus satisfies `selector`. */
  focuses(selector) { return until(() => this.page.evaluate(selector => document.activeElement?.matches(selector) ?? false, selector), true) }

  /** Closes the browser, and fails if its console complained. */
  async leave() {
    await this.context.close()
    assert.deepEqual(this.errors, [], this.name)
  }
}
