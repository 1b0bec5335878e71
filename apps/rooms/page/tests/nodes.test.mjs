// Three nodes behind a load balancer that knows nothing of sessions: people on different nodes notice neither that nor the end of one.
import assert from "node:assert/strict"
import { resolve } from "node:path"
import { after, before, test } from "node:test"
import { Balancer } from "../../../../tests/clients/balancer.mjs"
import { Postgres, Redis } from "../../../../tests/clients/engines.mjs"
import { launch, Reader } from "./reader.mjs"
import { Server } from "./server.mjs"
import { until } from "../../../../tests/clients/until.mjs"

const picture = resolve(import.meta.dirname, "picture.png")
const PATIENCE = 60_000

let browser, postgres, redis, nodes, balancer, ann, ben

before(async () => {
  [browser, postgres, redis] = await Promise.all([launch(), Postgres.start(), Redis.start()])
  nodes = []
  for (const name of ["one", "two", "three"]) {
    nodes.push(await Server.start({ STORE: postgres.address, CLUSTER: redis.address, NODE_NAME: name }))
  }
  for (const node of nodes) await until(async () => (await of(node, "readyz")).includes("cluster up: 3 nodes"), true, PATIENCE)
  balancer = await Balancer.before(nodes)
})
after(async () => {
  await browser.close()
  await balancer.stop()
  await Promise.all(nodes.map(node => node.stop()))
  await Promise.all([postgres.stop(), redis.stop()])
})

const of = async (node, page) => (await fetch(`${node.url}/${page}`)).text()
const sockets = async node => Number((await of(node, "metrics")).match(/^hinotori_connections\{transport="websocket"\} (\d+)/m)?.[1] ?? 0)

/** The nodes that have the sockets. */
async function places(count) {
  const taken = async () => (await Promise.all(nodes.map(sockets))).flatMap((many, at) => Array(many).fill(at))
  await until(async () => (await taken()).length, count, PATIENCE)
  return taken()
}

test("two strangers meet by an invitation, on different nodes", async () => {
  ann = await Reader.signedUp(browser, balancer.url, "Ann")
  await ann.createRoom("garden", { isPrivate: true })
  const link = await ann.invitation()
  const [hers] = await places(1)
  ben = await Reader.arrive(browser, link)
  await ben.signUp("Ben")
  await ben.isIn("garden")
  for (let his; (his = (await places(2)).filter(at => at !== hers)).length === 0;) {
    await ben.page.reload()
    await ben.isIn("garden")
  }
  await ann.says("Hello from one node")
  await ben.sees("Hello from one node")
  await ben.says("Hello from another")
  await ann.sees("Hello from another")
})

test("reactions and pictures are the same on all nodes", async () => {
  await ben.react("Hello from one node", "🎉")
  await until(() => ann.reactions("Hello from one node"), ["🎉 1"])
  await ben.page.locator("input[type=file]").setInputFiles(picture)
  await until(() => ben.button("Send").isEnabled(), true)
  await ben.says("My can")
  const img = ann.message("My can").locator("img")
  await img.waitFor()
  await until(() => img.evaluate(img => img.complete && img.naturalWidth > 0), true)
})

test("who was offline gets what was said meanwhile, and what they wrote is sent once", async () => {
  await ben.context.setOffline(true)
  await ben.write("Written in a tunnel")
  await ben.unsent("Written in a tunnel").waitFor()
  await ann.says("Said meanwhile")
  await ben.context.setOffline(false)
  await ben.sees("Said meanwhile")
  await ben.sees("Written in a tunnel")
  await ann.sees("Written in a tunnel")
})

test("a node is killed, and nobody notices", async () => {
  const counts = await Promise.all(nodes.map(sockets))
  const at = counts.findLastIndex(count => count > 0)
  await nodes[at].kill()
  await ann.says("Said by Ann after it")
  await ben.says("Said by Ben after it")
  for (const reader of [ann, ben]) {
    for (const text of ["Said by Ann after it", "Said by Ben after it"]) await reader.message(text).waitFor({ timeout: PATIENCE })
  }
  const all = ["Hello from one node", "Hello from another", "My can", "Said meanwhile", "Written in a tunnel"]
  for (const reader of [ann, ben]) {
    const texts = await reader.texts()
    assert.deepEqual([...texts].slice(0, -2).sort(), [...all].sort())
    assert.deepEqual(texts.slice(-2).sort(), ["Said by Ann after it", "Said by Ben after it"])
    assert.deepEqual(reader.errors, [])
  }
  assert.deepEqual(await ann.texts(), await ben.texts())
  await ann.screenshot("nodes-ann")
  await ben.screenshot("nodes-ben")
})
