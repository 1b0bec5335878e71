// Pictures that are pasted and dropped, and files that cannot be sent: nothing that was written is lost.
import assert from "node:assert/strict"
import { readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { after, before, test } from "node:test"
import { until } from "../../../../tests/clients/until.mjs"
import { launch, Reader } from "./reader.mjs"
import { Server } from "./server.mjs"

const picture = resolve(import.meta.dirname, "picture.png")
const text = join(tmpdir(), `rooms-${process.pid}.txt`)
const large = join(tmpdir(), `rooms-${process.pid}.png`)

let browser, server, ann, cdp

before(async () => {
  await writeFile(text, "a text")
  await writeFile(large, Buffer.alloc((5 << 20) + 1))
  browser = await launch()
  server = await Server.start()
  ann = await Reader.signedUp(browser, server.url, "Ann")
  await ann.context.grantPermissions(["clipboard-read", "clipboard-write"])
  cdp = await ann.context.newCDPSession(ann.page)
  await ann.createRoom("garden")
})
after(async () => {
  await ann.leave()
  await browser.close()
  await server.stop()
  for (const file of [text, large]) await rm(file)
})

const preview = () => ann.page.locator("canvas")
const remove = () => ann.button("Remove the picture").click()

/** Drags files from outside over the page, which the browser would open if the page did not take them. */
async function dragOver(files) {
  for (const type of ["dragEnter", "dragOver"]) await dispatch(type, files)
}

/** The browser drops nothing before it has heard from the page that it may, so this drags until it does. */
async function drop(files) {
  await ann.page.evaluate(() => {
    window.isDropped = false
    addEventListener("drop", () => { window.isDropped = true }, { once: true, capture: true })
  })
  await until(async () => {
    await dragOver(files)
    await dispatch("drop", files)
    return ann.page.evaluate(() => window.isDropped)
  }, true)
}

const dispatch = (type, files) =>
  cdp.send("Input.dispatchDragEvent", { type, x: 640, y: 300, data: { items: [], files, dragOperationsMask: 1 } })

/** Pastes what the system's clipboard cannot be given by a page. */
const paste = items => ann.field.evaluate((field, items) => {
  const clipboardData = new DataTransfer()
  for (const { type, content, name } of items) {
    if (name) clipboardData.items.add(new File([content], name, { type }))
    else clipboardData.setData(type, content)
  }
  return !field.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }))
}, items)

async function sendsIt(words) {
  await until(() => ann.button("Send").isEnabled(), true)
  await ann.field.press("Enter")
  const img = ann.message(words).locator("img")
  await img.waitFor()
  await until(() => img.evaluate(img => img.complete && img.naturalWidth > 0), true)
}

test("a picture from the clipboard is attached to what is written", async () => {
  await ann.field.fill("pasted")
  await ann.page.evaluate(async bytes => {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": new Blob([new Uint8Array(bytes)], { type: "image/png" }) })])
  }, [...await readFile(picture)])
  await ann.field.press("Control+v")
  await preview().waitFor()
  await ann.screenshot("desk-pasted")
  await sendsIt("pasted")
})

test("a picture that is dropped anywhere is attached, and the page says so before", async () => {
  await ann.field.fill("dropped")
  await dragOver([picture])
  await ann.page.getByText("Drop the picture here").waitFor()
  await ann.screenshot("desk-drop")
  await drop([picture])
  await ann.page.getByText("Drop the picture here").waitFor({ state: "detached" })
  await preview().waitFor()
  assert.equal(await ann.field.inputValue(), "dropped")
  await ann.focuses("textarea")
  await sendsIt("dropped")
})

test("a file that is no picture, or too large, is refused with a reason, and the text and an earlier picture stay", async () => {
  await ann.field.fill("kept")
  await drop([picture])
  await preview().waitFor()
  for (const [file, reason] of [[text, "Only PNG, JPEG, GIF and WebP pictures can be sent."], [large, "A picture can have at most 5 MB."]]) {
    await drop([file])
    await ann.page.getByText(reason).waitFor()
    assert.equal(await ann.field.inputValue(), "kept")
    await ann.page.getByText("picture.png").waitFor()
  }
  assert.ok(ann.page.url().startsWith(`${server.url}/#/room/`), "the browser has opened the file")
  await ann.screenshot("desk-refused-file")
  assert.ok(await paste([{ type: "application/pdf", content: "x", name: "x.pdf" }]))
  await ann.page.getByText("Only PNG, JPEG, GIF and WebP pictures can be sent.").waitFor()
  assert.equal(await ann.field.inputValue(), "kept")
  await sendsIt("kept")
})

test("of several pictures the first is taken, which is told", async () => {
  await drop([text, picture, picture])
  await preview().waitFor()
  await ann.page.getByText("A message has one picture").waitFor()
  await remove()
  assert.equal(await preview().count(), 0)
})

test("a text that also comes as a picture is pasted as the text", async () => {
  assert.equal(await paste([{ type: "text/plain", content: "1" }, { type: "text/html", content: "<td>1" }, { type: "image/png", content: "x", name: "image.png" }]), false)
  assert.ok(await paste([{ type: "text/plain", content: "x.txt" }, { type: "text/plain", content: "x", name: "x.txt" }]), "a file of a file manager")
  assert.equal(await preview().count(), 0)
})

test("a message that was sent cannot get a picture, which is told, and its edit goes on", async () => {
  await ann.act("kept", "Edit")
  await until(() => ann.field.inputValue(), "kept")
  await drop([picture])
  await ann.page.getByText("A picture cannot be added to a message that was already sent.").waitFor()
  assert.equal(await preview().count(), 0)
  assert.equal(await ann.field.inputValue(), "kept")
  await ann.field.press("Escape")
})

test("a file that is dropped where no message is written does not replace the page", async () => {
  await ann.page.evaluate(() => { location.hash = "#/" })
  await ann.page.getByRole("heading", { name: "Welcome, Ann" }).waitFor()
  await drop([text])
  await drop([picture])
  assert.equal(await ann.page.getByRole("heading", { name: "Welcome, Ann" }).count(), 1)
  await ann.page.evaluate(() => new Promise(requestAnimationFrame))
  assert.ok(ann.page.url().startsWith(server.url))
})
