// The page of supabase-realtime's README, in two windows of a real browser.
import assert from "node:assert/strict"
import { once } from "node:events"
import { readFile } from "node:fs/promises"
import { createServer } from "node:http"
import { resolve } from "node:path"
import { after, before, it } from "node:test"
import * as esbuild from "esbuild"
import { SECRET, token } from "../clients/supabase/clients.mjs"
import { Server } from "../clients/server.mjs"
import { until } from "../clients/until.mjs"
import { launch } from "./page.mjs"

const folder = resolve(import.meta.dirname, "../../apps/supabase-realtime/cursors")

let server, pages, browser

before(async () => {
  const { outputFiles: [{ contents }] } =
    await esbuild.build({ entryPoints: [`${folder}/cursors.js`], bundle: true, format: "esm", write: false })
  const html = await readFile(`${folder}/index.html`)
  pages = createServer(({ url }, answer) => {
    const isScript = url === "/cursors.js"
    answer.writeHead(200, { "Content-Type": isScript ? "text/javascript" : "text/html" }).end(isScript ? contents : html)
  }).listen(0, "127.0.0.1")
  await once(pages, "listening")
  server = await Server.supabase({ JWT_SECRET: SECRET })
  browser = await launch()
})

after(async () => {
  await browser?.close()
  await server?.stop()
  pages?.close()
})

it("shows in each window the cursor of the other, and removes it when that is closed", async () => {
  const query = new URLSearchParams({ url: server.url, key: token() })
  const open = async () => {
    const page = await (await browser.newContext()).newPage()
    page.failures = []
    page.on("pageerror", error => page.failures.push(String(error)))
    await page.goto(`http://127.0.0.1:${pages.address().port}/?${query}`)
    await until(() => page.locator("#status").textContent(), "subscribed")
    return page
  }
  const [one, other] = [await open(), await open()]
  for (const page of [one, other]) await until(() => page.locator("#people").textContent(), "2 here")
  const cursor = other.locator(".cursor")
  await until(async () => {
    await one.mouse.move(300 + Math.random(), 200)
    return cursor.count()
  }, 1)
  const { width, height } = one.viewportSize()
  await one.mouse.move(width / 4, height / 2)
  await until(() => cursor.evaluate(element => element.style.translate), `${width / 4}px ${height / 2}px`)
  assert.equal(await one.locator(".cursor").count(), 0)
  await one.close()
  await until(() => cursor.count(), 0)
  await until(() => other.locator("#people").textContent(), "1 here")
  assert.deepEqual([...one.failures, ...other.failures], [])
})
