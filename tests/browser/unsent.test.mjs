// What is written and liked without a connection, or as it breaks: nothing vanishes, and nothing is sent twice.
import assert from "node:assert/strict"
import { after, afterEach, before, beforeEach, describe, test } from "node:test"
import { Client, disconnectAll } from "../clients/client.mjs"
import { Server } from "../clients/server.mjs"
import { until } from "../clients/until.mjs"
import { ChatPage, DESKTOP, launch, PHONE } from "./page.mjs"
import { Tunnel } from "./tunnel.mjs"

// What the browser itself says of each attempt while the tunnel is cut.
const REFUSED = /^WebSocket connection to .* failed|^Failed to load resource/

/** phoenix.js drops after 10 s what it could not send. Page time: no test waits for it. */
const LONG = 15_000

let browser, server, tunnel, other, chat

before(async () => { browser = await launch() })
after(() => browser.close())

beforeEach(async () => {
  server = await Server.start()
  tunnel = await Tunnel.to(server)
  other = await Client.join(server)
})
afterEach(async () => {
  disconnectAll()
  await chat.close(REFUSED)
  await tunnel.stop()
  await server.stop()
})

async function open(options) {
  chat = await ChatPage.blank(browser, options)
  await chat.page.clock.install()
  await chat.goto(tunnel.url)
}

const lost = () => chat.page.locator("#connection-lost").waitFor()

async function cut() {
  tunnel.cut()
  await lost()
}

/** Lets the tunnel through again, and page time go on until the page has noticed. */
async function mend() {
  tunnel.mend()
  await until(async () => {
    await chat.page.clock.runFor(1_000)
    return chat.page.locator("#connection-lost").isHidden()
  }, true)
}

/** What everybody was told, in order. */
const told = () => other.messages.map(({ content }) => content)

async function everybodyHas(...texts) {
  await until(told, texts)
  await chat.shows(...texts)
  await until(() => chat.unsent(), [])
  assert.equal(await chat.unsentCount, "")
}

for (const [transport, options] of [["a WebSocket", {}], ["long polling", { webSockets: false }]]) {
  describe(`over ${transport}`, () => {
    for (const [length, ms] of [["briefly", 2_000], ["for longer than phoenix.js keeps anything", LONG]]) {
      test(`a message written while away ${length} is shown as unsent, and sent once`, async () => {
        await open(options)
        await chat.says("before")
        await cut()
        await chat.post("written while away")
        assert.equal(await chat.input.inputValue(), "")
        await chat.page.clock.runFor(ms)
        await until(() => chat.unsent(), [{ content: "written while away", quote: null, state: "未送信: 接続が戻ると送信します", actions: ["取り消す"] }])
        assert.match(await chat.page.getByRole("status").filter({ hasText: "未送信" }).textContent(), /メッセージ 1 件/)
        await mend()
        await everybodyHas("before", "written while away")
        await chat.page.clock.runFor(LONG)
        await chat.post("afterwards")
        await everybodyHas("before", "written while away", "afterwards")
      })
    }

    test("several are sent in the order in which they were written, replies with their quotes, and likes counted", async () => {
      await open(options)
      await chat.says("明日は何時から？")
      await cut()
      await chat.post("one")
      await chat.reply("明日は何時から？")
      await chat.post("10時です")
      assert.ok(await chat.page.isHidden("#reply-preview"))
      await chat.like("明日は何時から？")
      await chat.like("明日は何時から？")
      await chat.post("one")
      await chat.page.clock.runFor(LONG)
      await until(async () => (await chat.unsent()).map(({ content, quote }) => [content, quote]), [["one", null], ["10時です", "明日は何時から？"], ["one", null]])
      assert.match(await chat.unsentCount, /メッセージ 3 件、いいね 2 件/)
      assert.match(await chat.item("明日は何時から？").locator(".like-button").getAttribute("class"), /unsent/)
      await mend()
      await everybodyHas("明日は何時から？", "one", "10時です", "one")
      assert.deepEqual((await chat.messages()).map(message => message.quote), [null, null, "明日は何時から？", null])
      await until(async () => (await chat.messages())[0].likes, 2)
      await until(() => other.likes.length, 2)
      assert.doesNotMatch(await chat.item("明日は何時から？").first().locator(".like-button").getAttribute("class"), /unsent/)
    })

    test("what others wrote meanwhile comes before it", async () => {
      await open(options)
      await cut()
      await chat.post("mine")
      await other.send("new_message", { message: "theirs" })
      await until(told, ["theirs"])
      await mend()
      await everybodyHas("theirs", "mine")
    })

    test("it outlasts a reload, with its quote and the like", async () => {
      await open(options)
      await chat.says("a")
      await cut()
      await chat.reply("a")
      await chat.post("an answer")
      await chat.like("a")
      await chat.page.reload()
      await lost()
      await until(async () => (await chat.unsent()).map(({ content, quote }) => [content, quote]), [["an answer", "a"]])
      await mend()
      await everybodyHas("a", "an answer")
      await until(async () => (await chat.messages()).map(({ quote, likes }) => [quote, likes]), [[null, 1], ["a", 0]])
      await chat.page.reload()
      await chat.shows("a", "an answer")
      assert.deepEqual(await chat.unsent(), [])
    })

    test("what was on the wire when the connection broke is sent once more if it was lost", async () => {
      await open(options)
      await chat.post("a")
      await chat.shows("a")
      tunnel.passes.up = false
      await chat.post("lost")
      await chat.like("a")
      await cut()
      await until(async () => (await chat.unsent()).map(({ content, state }) => [content, state]), [["lost", "送信できたか確認できていません"]])
      await mend()
      await everybodyHas("a", "lost")
      await until(async () => (await chat.messages())[0].likes, 1)
    })

    test("what was on the wire when the connection broke is there once if it got through", async () => {
      await open(options)
      await chat.post("a")
      await chat.shows("a")
      tunnel.passes.down = false
      await chat.post("got through")
      await chat.like("a")
      await until(told, ["a", "got through"])
      // phoenix.js's long poll keeps the like back until the message is answered.
      if (transport === "a WebSocket") await until(() => other.likes.length, 1)
      await cut()
      await mend()
      await everybodyHas("a", "got through")
      await chat.post("b")
      await everybodyHas("a", "got through", "b")
      await until(() => other.likes.length, 1)
      assert.equal((await chat.messages())[0].likes, 1)
    })
  })
}

test("a message written before the page was ever connected is sent when it is", async () => {
  tunnel.cut()
  chat = await ChatPage.blank(browser)
  await chat.page.clock.install()
  await chat.page.goto(tunnel.url)
  await chat.post("early")
  await chat.page.clock.runFor(LONG)
  await until(async () => (await chat.unsent()).map(({ content }) => content), ["early"])
  await mend()
  await everybodyHas("early")
})

test("of the same words sent several times, one that got through does not stand for those that were lost", async () => {
  await open()
  await chat.post("はい")
  await chat.shows("はい")
  tunnel.passes.down = false
  await chat.post("はい")
  await until(told, ["はい", "はい"])
  tunnel.passes.up = false
  await chat.post("はい")
  await chat.post("はい")
  await cut()
  await mend()
  await everybodyHas("はい", "はい", "はい", "はい")
  await chat.post("end")
  await everybodyHas("はい", "はい", "はい", "はい", "end")
})

test("it survives a connection that comes and goes", async () => {
  await open()
  await cut()
  await chat.post("patient")
  // a message that is not answered goes out three times: the last of them is left alone
  for (let i = 0; i < 2; i++) {
    await mend()
    await cut()
  }
  await mend()
  await everybodyHas("patient")
})

test("it can be called off while it is unsent, and its text is back in the input", async () => {
  await open()
  await cut()
  await chat.post("keep this")
  await chat.post("rather not")
  await chat.page.locator("#unsent > li", { hasText: "rather not" }).getByRole("button", { name: "取り消す" }).click()
  assert.equal(await chat.input.inputValue(), "rather not")
  await mend()
  await everybodyHas("keep this")
})

test("an input method's conversion is not disturbed when the connection is back", async () => {
  await open()
  await cut()
  await chat.post("unsent")
  const cdp = await chat.context.newCDPSession(chat.page)
  await chat.input.focus()
  await cdp.send("Input.imeSetComposition", { text: "ひのとり", selectionStart: 4, selectionEnd: 4 })
  await chat.page.evaluate(() => {
    window.compositionEnded = false
    document.addEventListener("compositionend", () => { window.compositionEnded = true })
  })
  await mend()
  await everybodyHas("unsent")
  assert.equal(await chat.page.evaluate(() => window.compositionEnded), false)
  await cdp.send("Input.insertText", { text: "火の鳥" })
  await chat.input.press("Enter")
  await everybodyHas("unsent", "火の鳥")
})

test("an answer whose message went with a restart quotes no other, and can be sent without", async () => {
  await open()
  await chat.post("question")
  await chat.shows("question")
  await server.kill()
  await lost()
  await chat.reply("question")
  await chat.post("answer")
  await chat.post("something else")
  await chat.like("question")
  await server.startAgain()
  await mend()
  await chat.shows("something else")
  await until(async () => (await chat.unsent()).map(({ content, state, actions }) => [content, state, actions]),
    [["answer", "未送信: 返信先のメッセージがもうありません", ["返信にせず送信", "取り消す"]]])
  await chat.page.getByRole("button", { name: "返信にせず送信" }).click()
  await chat.shows("something else", "answer")
  assert.deepEqual((await chat.messages()).map(({ quote, likes }) => [quote, likes]), [[null, 0], [null, 0]])
  await until(() => chat.unsent(), [])
  assert.equal(await chat.unsentCount, "")
})

test("an answer that was being written to a message of a former life quotes no other", async () => {
  await open()
  await chat.post("question")
  await chat.shows("question")
  await chat.reply("question")
  await server.kill()
  await server.startAgain()
  await mend()
  const someone = await Client.join(server)
  someone.send("new_message", { message: "another" })
  await chat.shows("another")
  await chat.post("answer")
  await until(async () => (await chat.unsent()).map(({ content, quote }) => [content, quote]), [["answer", "question"]])
  assert.deepEqual(someone.messages.map(({ content }) => content), ["another"])
})

test("what the server refuses is shown with its reason, and can be changed", async () => {
  await server.stop()
  server = await Server.start({ MESSAGE_MAX: "10" })
  await tunnel.stop()
  tunnel = await Tunnel.to(server)
  await open()
  await chat.post("far too long for this server")
  await until(async () => (await chat.unsent()).map(({ state, actions }) => [state, actions]), [["送信できませんでした: 長すぎます", ["もう一度送信", "取り消す"]]])
  await chat.page.getByRole("button", { name: "もう一度送信" }).click()
  await until(async () => (await chat.unsent()).map(({ state }) => state), ["送信できませんでした: 長すぎます"])
  await chat.page.getByRole("button", { name: "取り消す" }).click()
  assert.equal(await chat.input.inputValue(), "far too long for this server")
  await chat.post("shorter")
  await chat.shows("shorter")
  assert.deepEqual(await chat.unsent(), [])
})

test("a page that comes back as it was left does not send what another page of its tab has sent", async () => {
  await open()
  await cut()
  await chat.post("sent by another")
  await chat.page.evaluate(() => {
    sessionStorage.setItem("chat:unsent", "[]")
    dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }))
  })
  await until(() => chat.unsent(), [])
  await mend()
  await chat.post("end")
  await everybodyHas("end")
})

for (const [name, viewport] of [["desktop", { viewport: DESKTOP }], ["phone", { viewport: PHONE, deviceScaleFactor: 2, isMobile: true, hasTouch: true }]]) {
  test(`on a ${name} the newest unsent message is in view and nothing is wider than the window`, async () => {
    await open(viewport)
    for (let i = 1; i <= 12; i++) other.send("new_message", { message: `message ${i}.` })
    await chat.item("message 12.").waitFor()
    await cut()
    await chat.like("message 12.")
    await chat.reply("message 12.")
    await chat.post("https://example.com/" + "a-rather-long-path/".repeat(9))
    await chat.post("שלום, עולם! את/ה מגיע/ה מחר?")
    await chat.post("接続が切れている間に書きました")
    await until(() => chat.page.locator("#connection-lost").evaluate(notice => getComputedStyle(notice).opacity), "1")
    await until(() => chat.page.locator("#unsent > li").last().evaluate(li => {
      const pane = li.closest("[role=log]")
      const { top, bottom } = li.getBoundingClientRect()
      const { top: paneTop, bottom: paneBottom } = pane.getBoundingClientRect()
      return { inView: top >= paneTop && bottom <= paneBottom, sideways: pane.scrollWidth > pane.clientWidth || document.documentElement.scrollWidth > innerWidth }
    }), { inView: true, sideways: false })
    await chat.screenshot(`unsent-${name}`)
  })
}
