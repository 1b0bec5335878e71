// What a browser loads before it shows anything, compressed. It needs `npm run build`.
import assert from "node:assert/strict"
import { readdir, readFile } from "node:fs/promises"
import { test } from "node:test"
import { brotliDecompressSync, gunzipSync } from "node:zlib"

const BUDGET = 150 * 1024
const dist = new URL("../dist/", import.meta.url)

const files = async () => (await readdir(dist, { recursive: true })).filter(name => /\.(js|css)$/.test(name))

test("all scripts and styles are at most 150 KB compressed", async () => {
  const names = await files()
  assert.ok(names.length >= 2, String(names))
  let bytes = 0
  for (const name of names) bytes += (await readFile(new URL(`${name}.gz`, dist))).length
  assert.ok(bytes <= BUDGET, `${bytes} bytes`)
})

test("what lies compressed beside a file is that file", async () => {
  for (const name of await files()) {
    const content = await readFile(new URL(name, dist))
    assert.deepEqual(gunzipSync(await readFile(new URL(`${name}.gz`, dist))), content)
    assert.deepEqual(brotliDecompressSync(await readFile(new URL(`${name}.br`, dist))), content)
  }
})

test("the page has nothing that script-src 'self' and style-src 'self' forbid", async () => {
  const html = await readFile(new URL("index.html", dist), "utf8")
  assert.doesNotMatch(html, /<style|style=|\son\w+=|<script(?![^>]*\ssrc=)/)
})
