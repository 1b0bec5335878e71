// What people type is text, wherever it is shown.
import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import { Server } from "../clients/server.mjs"
import { until } from "../clients/until.mjs"
import { ChatPage, launch } from "./page.mjs"

const HOSTILE = [
  `<img src=x onerror="window.ran = true">`,
  `<script>window.ran = true</script>`,
  `"><svg onload="window.ran = true">`,
  `' onmouseover='window.ran = true' x='`,
  `" onfocus="window.ran = true" autofocus tabindex="0`,
  `</p></div></li><li><b>out</b>`,
  `&lt;b&gt; &amp;amp; &#60;i&#62; \${window.ran = true}`,
  `<a href="javascript:window.ran = true">link</a>`,
  `<iframe srcdoc="<script>parent.ran = true</script>"></iframe>`,
]

let browser, server
before(async () => {
  browser = await launch()
  server = await Server.start()
})
after(async () => {
  await browser.close()
  await server.stop()
})

test("markup is shown as text and never runs: in messages, quotes, the preview, attributes, live and from the history", async () => {
  const ann = await ChatPage.open(browser, server.url)
  for (const text of HOSTILE) await ann.post(text)
  await ann.shows(...HOSTILE)
  for (const [i, text] of HOSTILE.entries()) {
    await ann.items.nth(i).locator(".reply-button").click()
    assert.equal(await ann.page.textContent("#reply-text"), text)
    await ann.post(`re ${i}`)
    await ann.items.nth(HOSTILE.length + i).waitFor()
  }
  const bob = await ChatPage.open(browser, server.url)
  for (const tab of [ann, bob]) {
    await until(async () => (await tab.messages()).slice(HOSTILE.length).map(message => message.quote), HOSTILE)
    assert.deepEqual((await tab.contents()).slice(0, HOSTILE.length), HOSTILE)
    const made = await tab.page.evaluate(count => ({
      ran: window.ran,
      tags: [...new Set(Array.from(document.querySelectorAll("#messages *"), element => element.localName))].sort(),
      attributes: [...new Set(Array.from(document.querySelectorAll("#messages *"), element => element.getAttributeNames()).flat())].sort(),
      data: Array.from(document.querySelectorAll("#messages .reply-button"), button => button.dataset.content).slice(0, count),
    }), HOSTILE.length)
    assert.deepEqual(made, {
      ran: undefined,
      tags: ["button", "div", "li", "p", "span"],
      attributes: ["aria-label", "class", "data-content", "data-message-id", "dir", "title"],
      data: HOSTILE,
    })
    await tab.close()
  }
})

test("a script that gets into the page all the same is stopped by the policy", async () => {
  const page = await ChatPage.open(browser, server.url)
  const violation = page.page.waitForEvent("console", message => message.text().startsWith("CSP: script-src"))
  await page.page.evaluate(() => {
    const button = document.createElement("button")
    button.setAttribute("onclick", "window.ran = true")
    document.body.append(button)
    button.click()
  })
  await violation
  assert.equal(await page.page.evaluate(() => window.ran), undefined)
  await page.close(/CSP|Content Security Policy/)
})
