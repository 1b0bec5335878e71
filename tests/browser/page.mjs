// One Chromium for a test file, tabs on the real page, and what a reader of the page sees and does.
import assert from "node:assert/strict"
import { mkdir } from "node:fs/promises"
import { resolve } from "node:path"
import { chromium } from "playwright-core"
import { until } from "../clients/until.mjs"

const screenshots = resolve(import.meta.dirname, "../../target/screenshots")

export const launchOptions = {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
}

export const launch = () => chromium.launch(launchOptions)

export const DESKTOP = { width: 1280, height: 800 }
export const PHONE = { width: 390, height: 844 }

export class ChatPage {
  /** Console errors (violations of the CSP among them) and uncaught exceptions. */
  errors = []

  /** An empty tab that will tell of errors, of a browser with or without WebSockets. */
  static async blank(browser, { webSockets = true, ...options } = {}) {
    const context = await browser.newContext({ viewport: DESKTOP, ...options })
    if (!webSockets) await context.addInitScript(() => { delete window.WebSocket })
    return ChatPage.of(context)
  }

  static async of(context) {
    const chat = new ChatPage()
    chat.context = context
    chat.page = await chat.context.newPage()
    chat.page.on("console", message => {
      if (message.type() === "error") chat.errors.push(message.text())
    })
    chat.page.on("pageerror", error => chat.errors.push(String(error)))
    await chat.page.addInitScript(() => {
      addEventListener("securitypolicyviolation", event => {
        console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`)
      })
    })
    return chat
  }

  static async open(browser, url, options) {
    const chat = await ChatPage.blank(browser, options)
    await chat.goto(url)
    return chat
  }

  async goto(url) {
    const loaded = this.historyLoaded()
    await this.page.goto(url)
    await loaded
  }

  /** Resolves once app.js has appended what a join brings. */
  historyLoaded() {
    return this.page.waitForEvent("console", message => message.text().startsWith("Loaded messages:"))
  }

  get input() { return this.page.locator("#message-input") }
  get pane() { return this.page.locator("[role=log]") }
  get items() { return this.page.locator("#messages > li") }

  item(text) { return this.items.filter({ has: this.page.locator("p", { hasText: text }) }) }

  async post(text) {
    await this.input.fill(text)
    await this.input.press("Enter")
  }

  /** Posts, and waits until the server has answered, which is after it has broadcast the message. */
  async says(text) {
    await this.post(text)
    await this.shows(text)
    await until(() => this.page.evaluate(() => JSON.parse(sessionStorage.getItem("chat:unsent"))?.length ?? 0), 0)
  }

  like(text) { return this.item(text).locator(".like-button").click() }
  reply(text) { return this.item(text).locator(".reply-button").click() }

  /** What is shown, read in one go: [{ id, content, quote, likes, stale }]. */
  messages() {
    return this.items.evaluateAll(items => items.map(li => ({
      id: Number(li.querySelector(".like-button").dataset.messageId),
      content: li.querySelector("p").textContent,
      quote: li.querySelector("p").previousElementSibling?.querySelector(".italic").textContent ?? null,
      likes: Number(li.querySelector(".like-button span").textContent),
      stale: li.classList.contains("stale"),
    })))
  }

  /** What is shown as unsent: [{ content, quote, state, actions }]. */
  unsent() {
    return this.page.locator("#unsent > li").evaluateAll(items => items.map(li => ({
      content: li.querySelector(".text").textContent,
      quote: li.querySelector(".quote").hidden ? null : li.querySelector(".quote .italic").textContent,
      state: li.querySelector(".state").textContent,
      actions: Array.from(li.querySelectorAll("button:not([hidden])"), button => button.textContent),
    })))
  }

  get unsentCount() { return this.page.locator("#unsent-status").textContent() }

  async contents() { return (await this.messages()).map(message => message.content) }

  /** Waits until exactly these contents are shown, in this order. */
  async shows(...contents) { await until(() => this.contents(), contents) }

  async screenshot(name) {
    await mkdir(screenshots, { recursive: true })
    await this.page.screenshot({ path: `${screenshots}/${name}.png` })
  }

  /** Closes the tab, and fails if the page complained about anything but what matches `expected`. */
  async close(expected = /^$/) {
    await this.context.close()
    assert.deepEqual(this.errors.filter(text => !expected.test(text)), [])
  }
}
