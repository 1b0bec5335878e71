// Everything by the keyboard alone, and keys that belong to an input method.
import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import { launch, Reader } from "./reader.mjs"
import { Server } from "./server.mjs"
import { until } from "../../../../tests/clients/until.mjs"

let browser, server, ann, keyboard

before(async () => {
  browser = await launch()
  server = await Server.start()
  ann = await Reader.arrive(browser, server.url)
  keyboard = ann.page.keyboard
})
after(async () => {
  await ann.leave()
  await browser.close()
  await server.stop()
})

/** Presses Tab until the focus is on what has this name. */
async function tabTo(name) {
  for (let i = 0; i < 40; i++) {
    await keyboard.press("Tab")
    const label = await ann.page.evaluate(() => document.activeElement.ariaLabel ?? document.activeElement.textContent.trim())
    if (label === name) return
  }
  assert.fail(`Tab does not reach ${name}`)
}

const fieldIsFocused = () => ann.focuses("textarea")

test("signing up", async () => {
  await tabTo("New here? Sign up")
  await keyboard.press("Enter")
  await ann.page.getByLabel("Name").focus()
  await keyboard.type("Ann")
  await keyboard.press("Tab")
  await keyboard.type("correct horse")
  await keyboard.press("Enter")
  await ann.page.getByRole("heading", { name: "Welcome, Ann" }).waitFor()
})

test("creating rooms: the focus begins in the dialog's field, and ends in the field for messages", async () => {
  for (const name of ["garden", "kitchen"]) {
    await tabTo("Create a room")
    await keyboard.press("Enter")
    await ann.focuses("dialog input")
    await keyboard.type(name)
    await keyboard.press("Enter")
    await ann.isIn(name)
    await fieldIsFocused()
  }
})

test("Escape closes a dialog and gives the focus back", async () => {
  await tabTo("Settings")
  await keyboard.press("Enter")
  await ann.dialog.waitFor()
  await keyboard.press("Escape")
  await ann.dialog.waitFor({ state: "detached" })
  await ann.focuses("[aria-label=Settings]")
})

test("Ctrl+K goes to a room by a few letters", async () => {
  await keyboard.press("Control+k")
  await ann.focuses("dialog input")
  await keyboard.type("gar")
  await until(() => ann.dialog.getByRole("option").count(), 1)
  await keyboard.press("Enter")
  await ann.isIn("garden")
  await fieldIsFocused()
})

test("the first Tab of the page leads past the list of rooms", async () => {
  await ann.page.goto(server.url)
  await ann.room("garden").waitFor()
  await keyboard.press("Tab")
  await ann.focuses(".skip")
  await keyboard.press("Enter")
  await ann.focuses("main")
  await keyboard.press("Control+k")
  await ann.focuses("dialog input")
  await keyboard.type("gar")
  await keyboard.press("Enter")
  await ann.isIn("garden")
})

test("Enter sends, Shift+Enter begins a line, and the arrow up edits the last message", async () => {
  await ann.field.focus()
  await keyboard.type("one")
  await keyboard.press("Shift+Enter")
  await keyboard.type("two")
  await keyboard.press("Enter")
  await ann.sees("one")
  assert.equal(await ann.message("one").locator(".text br").count(), 1)
  await keyboard.press("ArrowUp")
  await until(() => ann.field.inputValue(), "one\ntwo")
  await keyboard.type(" three")
  await keyboard.press("Enter")
  await ann.sees("two three")
})

test("Escape leaves an edit, and what was written before is there again", async () => {
  await ann.says("last")
  await keyboard.press("ArrowUp")
  await until(() => ann.field.inputValue(), "last")
  await keyboard.press("Escape")
  await until(() => ann.field.inputValue(), "")
})

test("messages are walked by the arrow keys, and answered, reacted to and deleted", async () => {
  await keyboard.press("Shift+Tab")
  await keyboard.press("Shift+Tab")
  await ann.message("last").focus()
  await keyboard.press("ArrowUp")
  await ann.focuses("li[data-id='1']")
  await tabTo("React")
  await keyboard.press("Enter")
  await ann.focuses("dialog button")
  await keyboard.press("Enter")
  await until(() => ann.reactions("two three"), ["*👍 1"])
  await ann.message("two three").focus()
  await tabTo("Reply")
  await keyboard.press("Enter")
  await fieldIsFocused()
  await keyboard.type("answer")
  await keyboard.press("Enter")
  await ann.sees("answer")
  await ann.message("answer").focus()
  await tabTo("Delete")
  await keyboard.press("Enter")
  await ann.dialog.waitFor()
  await tabTo("Delete")
  await keyboard.press("Enter")
  await ann.message("answer").waitFor({ state: "detached" })
})

test("Escape in the list goes back to writing", async () => {
  await ann.message("last").focus()
  await keyboard.press("Escape")
  await fieldIsFocused()
})

test("a name is completed after @", async () => {
  await keyboard.type("hi @a")
  await ann.page.getByRole("option", { name: "Ann" }).waitFor()
  await keyboard.press("Enter")
  await until(() => ann.field.inputValue(), "hi @Ann ")
  await keyboard.press("Enter")
  await ann.sees("hi @Ann")
  await ann.message("hi").locator(".mention.mine").waitFor()
})

test("Enter and Escape that end a conversion of an input method send nothing and leave the reply", async () => {
  const cdp = await ann.context.newCDPSession(ann.page)
  const compose = text => cdp.send("Input.imeSetComposition", { text, selectionStart: text.length, selectionEnd: text.length })
  await ann.act("last", "Reply")
  const before = await ann.texts()
  for (const key of ["Enter", "Escape"]) {
    await compose("へんかん")
    await keyboard.press(key)
    await ann.page.getByText("Reply to Ann", { exact: true }).waitFor()
    // Safari's order: the composition ends, and then comes the key that ended it, with the code 229 alone
    await ann.field.fill("変換")
    await ann.field.evaluate((field, key) => {
      field.dispatchEvent(new CompositionEvent("compositionend", { data: "", bubbles: true }))
      field.dispatchEvent(new KeyboardEvent("keydown", { key, code: key, keyCode: 229, bubbles: true, cancelable: true }))
    }, key)
    await ann.page.getByText("Reply to Ann", { exact: true }).waitFor()
    assert.match(await ann.field.inputValue(), /変換/)
  }
  await ann.says("変換しました")
  assert.deepEqual(await ann.texts(), [...before, "変換しました"])
})
