import assert from "node:assert/strict"
import { test } from "node:test"
import { message } from "./message.mjs"
import { load } from "./source.mjs"

const { render, plain } = await load("lib/text/markdown.ts")
const { highlight } = await load("lib/text/highlight.ts")
const { rows } = await load("lib/rows.ts")
const { en } = await load("lib/text/en.ts")
const { ja } = await load("lib/text/ja.ts")

const html = text => render(text, ["Ann", "Ann Lee", "a.b"], "Ann").trim()

test("no Markdown becomes HTML of its author", () => {
  const attacks = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<b>x</b>", "`<i>`", "```\n<svg onload=alert(1)>\n```", "&lt;script&gt;",
    "```\"><img src=x>\n```", "@Ann<img src=x>", "\\<img src=x>", "> <iframe srcdoc='x'>", "- <a href=x>", "[<img src=x>](https://x)",
  ]
  const allowed = /<\/?(p|br|strong|em|s|code|pre|ul|ol|li|blockquote|hr|a|span)\b[^<>]*>/g
  for (const attack of attacks) assert.doesNotMatch(html(attack).replace(allowed, ""), /[<>]/, attack)
})

test("links go to http, https and mailto, and nowhere else", () => {
  for (const url of ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "//evil.example", "/api/logout", "java\tscript:x"]) {
    assert.doesNotMatch(html(`[x](${url}) <${url}> ![x](${url})`), /<a|<img/, url)
  }
  assert.equal(html("https://example.com/a?b=1&c"),
    '<p><a href="https://example.com/a?b=1&amp;c" target="_blank" rel="noopener noreferrer nofollow">https://example.com/a?b=1&amp;c</a></p>')
  assert.match(html('[x](https://example.com "a\\"b")'), /title="a&quot;b"/)
})

test("pictures from elsewhere are not loaded, and headings are not headings", () => {
  assert.doesNotMatch(html("![x](https://example.com/x.png)\n\n# x\n\nx\n==="), /<img|<h1/)
})

test("a mention is the longest name, and an address is none", () => {
  assert.equal(html("@ann lee and (@ANN)"), '<p><span class="mention">@ann lee</span> and (<span class="mention mine">@ANN</span>)</p>')
  for (const text of ["mail@ann", "@annika", "@axb", "`@ann`", "@"]) assert.doesNotMatch(html(text), /mention/, text)
})

test("a text for quotes has no marks", () => {
  assert.equal(plain("**a** `b`\n\n> c"), "a b c")
  assert.equal(plain("- [a link](https://example.com) and https://example.com/b\n- snake_case > 1 # 2\n\n```rust\nlet a = b * c;\n```\nend"),
    "a link and https://example.com/b snake_case > 1 # 2 let a = b * c; end")
})

test("hits are marked wherever they are, without case", () => {
  assert.deepEqual(highlight("One two ONE", "one").map(({ text, isHit }) => [text, isHit]), [["One", true], [" two ", false], ["ONE", true]])
  assert.deepEqual(highlight("a+b (c)", "+b (c").filter(({ isHit }) => isHit).map(({ text }) => text), ["+b", "(c"])
  assert.deepEqual(highlight("東京都", "京都").filter(({ isHit }) => isHit).map(({ text }) => text), ["京都"])
  assert.match(highlight(`${"x ".repeat(200)}needle`, "needle")[0].text, /^…/)
})

test("messages of one author within five minutes are a group, and the line is before the first one of another user", () => {
  const at = minute => ({ at: new Date(2026, 0, 1, 12, minute).toISOString() })
  const list = [message(1, at(0)), message(2, at(1)), message(3, { author: "ben", ...at(2) }), message(4, { author: "ben", ...at(9) })]
  const kinds = rows(list, 1, "ann").map(row => (row.kind === "message" ? `${row.message.id}${row.isFirst ? " first" : ""}` : row.kind))
  assert.deepEqual(kinds, ["day", "1 first", "2", "new", "3 first", "4 first"])
})

test("Japanese has every word, and its functions read what they are given", () => {
  assert.deepEqual(Object.keys(ja).sort(), Object.keys(en).sort())
  assert.deepEqual(Object.keys(ja.errors).sort(), Object.keys(en.errors).sort())
  for (const words of [en, ja]) {
    for (const [key, word] of Object.entries(words)) {
      if (typeof word === "function") assert.match(String(word(["ZZ"], "ZZ")), /ZZ/, key)
    }
  }
})
