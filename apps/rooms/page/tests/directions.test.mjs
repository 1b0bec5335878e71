// The page from right to left, on a desk, a phone and a small phone, with texts of both directions.
import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import { until } from "../../../../tests/clients/until.mjs"
import { DESK, launch, PHONE, Reader } from "./reader.mjs"
import { Server } from "./server.mjs"

const SMALL = { ...PHONE, viewport: { width: 320, height: 568 } }

let browser, server, ann, link

before(async () => {
  browser = await launch()
  server = await Server.start()
  ann = await Reader.signedUp(browser, server.url, "نورة")
  await ann.createRoom("الحديقة")
  link = await ann.invitation()
  await ann.says("مرحبا بكم في **الحديقة**، انظروا https://example.com/a/very/long/path/that/goes/on/and/on/and/on", "مرحبا بكم")
  await ann.says("```\nlet line = \"of code that is much longer than a phone is wide, and goes on, and on, and on\"\n```", "let line")
  await ann.createRoom("kitchen")
  await ann.enter("الحديقة")
})
after(async () => {
  await ann.leave()
  await browser.close()
  await server.stop()
})

const mirror = reader => reader.page.evaluate(() => { document.documentElement.dir = "rtl" })

/** The places of elements: the middle of each, in pixels from the left. */
const middle = locator => locator.evaluate(element => {
  const { left, right } = element.getBoundingClientRect()
  return (left + right) / 2
})

/** Where the text of an element is, whatever the element's own box. */
const text = locator => locator.evaluate(element => {
  const range = document.createRange()
  range.selectNodeContents(element)
  const { left, right } = range.getBoundingClientRect()
  return { left, right }
})

async function fits(reader, where) {
  const wide = await reader.page.evaluate(() => Array.from(document.querySelectorAll("body *"), element => ({ element, box: element.getBoundingClientRect() }))
    .filter(({ element, box }) => box.width > 1 && box.height > 1 && (box.left < -1 || box.right > innerWidth + 1) && !element.closest(".one-line, [data-status]"))
    .map(({ element, box }) => `${element.outerHTML.slice(0, 80)} ${box.left} to ${box.right}`))
  assert.deepEqual(wide, [], where)
  assert.ok(await reader.page.evaluate(() => document.scrollingElement.scrollWidth <= innerWidth), where)
}

/** Opens each dialog that a button of the page opens, and closes it again. */
async function dialogsFit(reader, place, names) {
  for (const name of names) {
    await reader.page.locator(place).getByRole("button", { name }).click()
    await reader.dialog.waitFor()
    await fits(reader, name)
    await reader.page.keyboard.press("Escape")
    await reader.dialog.waitFor({ state: "detached" })
  }
}

test("the direction of the page is that of its language", async () => {
  assert.equal(await ann.page.evaluate(() => document.documentElement.dir), "ltr")
})

test("a name begins beside its icon, whatever its script and the direction of the page", async () => {
  for (const direction of ["ltr", "rtl"]) {
    await ann.page.evaluate(direction => { document.documentElement.dir = direction }, direction)
    for (const name of ["الحديقة", "kitchen"]) {
      const icon = await ann.room(name).locator("svg").evaluate(icon => icon.getBoundingClientRect().toJSON())
      const { left, right } = await text(ann.room(name).locator("bdi"))
      const gap = direction === "ltr" ? left - icon.right : icon.left - right
      assert.ok(gap > 0 && gap < 20, `${name} ${direction}: ${gap}`)
    }
  }
})

test("on a desk all is mirrored: the list, the message and its tools, the field and its buttons, the menu", async () => {
  await mirror(ann)
  assert.ok(await middle(ann.page.locator("nav")) > await middle(ann.page.locator("main")))
  const message = ann.message("مرحبا بكم")
  assert.ok(await middle(message.locator(".avatar")) > await middle(message.locator(".text")))
  assert.ok(await middle(ann.button("Add a picture")) > await middle(ann.field))
  assert.ok(await middle(ann.button("Send")) < await middle(ann.field))
  await message.hover()
  assert.ok(await middle(message.getByRole("group")) < await middle(message))
  // the arrow of a reply and the plane point the other way
  for (const icon of [message.getByRole("button", { name: "Reply" }), ann.button("Send")]) {
    assert.match(await icon.locator("svg").evaluate(svg => getComputedStyle(svg).transform), /matrix\(-1/)
  }
  // code keeps its direction, and a time is not turned around
  assert.equal(await ann.message("let line").locator("pre").evaluate(pre => getComputedStyle(pre).direction), "ltr")
  assert.equal(await message.locator(".head time").evaluate(time => getComputedStyle(time).direction), "ltr")
  assert.equal(await ann.field.evaluate(field => getComputedStyle(field).direction), "rtl")
  await ann.field.fill("hello")
  assert.equal(await ann.field.evaluate(field => getComputedStyle(field).direction), "ltr")
  await ann.field.fill("")
  await ann.act("مرحبا بكم", "Reply")
  await ann.says("جواب")
  const quote = ann.message("جواب").getByRole("button", { name: "In reply to" })
  assert.ok(await middle(quote) > await middle(ann.message("جواب")))
  await ann.act("جواب", "React")
  await fits(ann, "the menu")
  await ann.dialog.getByRole("button", { name: "🎉" }).click()
  await until(() => ann.reactions("جواب"), ["*🎉 1"])
  await ann.hasNoBarriers("a room from right to left")
  await ann.screenshot("desk-rtl")
  await dialogsFit(ann, "nav", ["Search", "Browse rooms", "Create a room", "New direct message", "Settings"])
  await dialogsFit(ann, "main", ["Members", "Invite"])
})

for (const [name, options] of [["phone", PHONE], ["small phone", SMALL]]) {
  for (const direction of ["ltr", "rtl"]) {
    test(`nothing is wider than a ${name}, ${direction}`, async () => {
      const answer = `رد ${name} ${direction}`
      const reader = await Reader.arrive(browser, link, options)
      await reader.page.evaluate(direction => { document.documentElement.dir = direction }, direction)
      await fits(reader, "signing up")
      await reader.signUp(`عمر ${name} ${direction}`)
      await reader.isIn("الحديقة")
      await reader.act("let line", "Reply")
      await fits(reader, "a reply")
      await reader.says(answer)
      await reader.act(answer, "👍")
      await until(() => reader.reactions(answer), ["*👍 1"])
      await fits(reader, "a room")
      await reader.message(answer).locator(".text").tap({ position: { x: 3, y: 6 } })
      await reader.dialog.waitFor()
      await fits(reader, "what can be done")
      await reader.page.keyboard.press("Escape")
      await reader.dialog.waitFor({ state: "detached" })
      await dialogsFit(reader, "main", ["Members", "Invite", "Search"])
      await reader.screenshot(`${name.replace(" ", "-")}-${direction}`)
      const back = reader.page.getByRole("link", { name: "Back to the rooms" })
      assert.equal(await middle(back) > options.viewport.width / 2, direction === "rtl")
      await back.tap()
      await dialogsFit(reader, "nav", ["Browse rooms", "Create a room", "New direct message", "Settings"])
      await fits(reader, "the list")
      await reader.screenshot(`${name.replace(" ", "-")}-rooms-${direction}`)
      await reader.leave()
    })
  }
}
