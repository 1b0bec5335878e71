// Long histories: pages, places, and the line before what is new.
import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import { launch, Reader } from "./reader.mjs"
import { Server } from "./server.mjs"
import { until } from "../../../../tests/clients/until.mjs"

/** More than two pages of 50, and fewer than a user may write at once in all. */
const COUNT = 130

let browser, server, ann, ben

before(async () => {
  browser = await launch()
  server = await Server.start()
  ann = await Reader.signedUp(browser, server.url, "Ann")
  await ann.createRoom("garden")
  ben = await Reader.arrive(browser, await ann.invitation())
  await ben.signUp("Ben")
  await ben.isIn("garden")
  // no faster than the server takes them: it limits what one user writes
  for (let i = 1; i <= COUNT; i++) await (i % 2 ? ann : ben).says(`message ${i}.`)
  await ann.sees(`message ${COUNT}.`)
  await ben.sees(`message ${COUNT - 1}.`)
}, { timeout: 240_000 })
after(async () => {
  await ann.leave()
  await ben.leave()
  await browser.close()
  await server.stop()
})

const pane = reader => reader.page.locator(".pane")
const isAtEnd = reader => pane(reader).evaluate(pane => pane.scrollHeight - pane.scrollTop - pane.clientHeight < 40)
const top = message => message.evaluate(item => Math.round(item.getBoundingClientRect().top))

test("the newest messages are in view, and stay so", async () => {
  await ann.page.reload()
  await ann.sees(`message ${COUNT}.`)
  await until(() => isAtEnd(ann), true)
  await ben.says("one more from Ben")
  await ann.sees("one more from Ben")
  await until(() => isAtEnd(ann), true)
})

test("older messages are loaded on the way up, down to the first, and nothing jumps", async () => {
  const loaded = async () => (await ann.texts()).length
  for (let before = await loaded(); before < COUNT + 1; before = await loaded()) {
    const first = ann.page.locator("li[data-id]").first()
    const place = await pane(ann).evaluate(pane => {
      pane.scrollTop = 0
      return pane.querySelector("li[data-id]").dataset.id
    })
    await until(async () => await loaded() > before, true)
    const message = ann.page.locator(`li[data-id="${place}"]`)
    assert.ok(Math.abs(await top(message) - 56) < 120, `${await top(message)}`)
    assert.notEqual(await first.getAttribute("data-id"), place)
  }
  await ann.page.getByText("This is the beginning of garden.").waitFor()
  assert.equal(new Set(await ann.texts()).size, COUNT + 1)
})

test("a new message leaves a reader of older ones where they are, and is counted", async () => {
  await pane(ann).evaluate(pane => { pane.scrollTop = 600 })
  const message = ann.message("message 20.")
  const before = await top(message)
  await ben.says("news for who reads old things")
  await ann.button("1 new message").waitFor()
  assert.equal(await top(message), before)
  await ann.button("1 new message").click()
  await until(() => isAtEnd(ann), true)
  await ann.button("1 new message").waitFor({ state: "detached" })
})

test("who reads older messages and writes one sees it", async () => {
  await pane(ann).evaluate(pane => { pane.scrollTop = 600 })
  await until(() => isAtEnd(ann), false)
  await ann.says("written from far up")
  await until(() => isAtEnd(ann), true)
})

test("a link to a message far back shows it in the middle, and the newest are one button away", async () => {
  await ben.page.goto(`${ben.page.url().split("#")[0]}#${(await ann.page.evaluate(() => location.hash)).slice(1).replace(/\/\d+$/, "")}/10`)
  await ben.page.reload()
  await ben.sees("message 10.")
  await ben.focuses("li[data-id='10']")
  const place = await top(ben.message("message 10."))
  assert.ok(place > 56 && place < 740, String(place))
  await ann.says("unseen by Ben")
  await ben.button("1 new message").click()
  await ben.sees("unseen by Ben")
  await until(() => isAtEnd(ben), true)
})

test("from a message far back, the way down leads to the newest", async () => {
  await ben.page.evaluate(() => { location.hash += "/10" })
  await ben.focuses("li[data-id='10']")
  await until(async () => {
    await pane(ben).evaluate(pane => { pane.scrollTop = pane.scrollHeight })
    return await ben.message("unseen by Ben").count() === 1 && await isAtEnd(ben)
  }, true)
  // Ann and Ben have posted at the same time: each one's messages are in their order
  const numbers = (await ben.texts()).map(text => Number(/^message (\d+)/.exec(text)?.[1])).filter(number => number >= 40)
  for (const rest of [0, 1]) {
    const expected = Array.from({ length: COUNT - 39 }, (_, i) => 40 + i).filter(number => number % 2 === rest)
    assert.deepEqual(numbers.filter(number => number % 2 === rest), expected)
  }
})

test("a room that is opened again begins at the line before what is new", async () => {
  await ben.createRoom("kitchen")
  for (let i = 0; i < 30; i++) await ann.write(`new ${i}.`)
  await ann.sees("new 29.")
  await until(() => ben.room("garden").textContent().then(text => /30 unread/.test(text)), true)
  await ben.enter("garden")
  await ben.page.locator("li.new + li", { hasText: "new 0." }).waitFor()
  assert.ok(await ben.page.locator("li.new").isVisible())
  await pane(ben).evaluate(pane => { pane.scrollTop = pane.scrollHeight })
  await until(() => ben.room("garden").textContent().then(text => text.trim()), "garden")
})
