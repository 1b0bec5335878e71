// phoenix.js on two nodes of one server, through everything that fails: who its Presence says is there is who is there, and in the
// chat everyone sees everything once and in order, whichever node they come back to.
//
// CLUSTER_ROUNDS says how often each thing fails; once by default, `make cluster-chaos` often.
import assert from "node:assert/strict"
import { after, afterEach, before, describe, test } from "node:test"
import { Balancer } from "./balancer.mjs"
import { answer, Client } from "./client.mjs"
import { Cuts, randomOf } from "./cuts.mjs"
import { Postgres, Redis } from "./engines.mjs"
import { Reader } from "./reader.mjs"
import { Server } from "./server.mjs"
import { until } from "./until.mjs"
import { CLIENTS } from "./versions.mjs"

const ROUNDS = Number(process.env.CLUSTER_ROUNDS ?? 1)
const PATIENCE = 60_000
const OPTIONS = { reconnectAfterMs: () => 20, rejoinAfterMs: () => 20 }
const random = randomOf(Math.floor(Math.random() * 2 ** 31))

/** The versions that people have now, over WebSocket. */
const RECENT = CLIENTS.filter(({ version, transport }) => parseFloat(version) >= 1.7 && transport === "WebSocket")

const rounds = async act => { for (let round = 1; round <= ROUNDS; round++) await act(round) }

async function nodes(start, closing) {
  const nodes = []
  for (const name of ["one", "two"]) {
    const node = await start({ NODE_NAME: name, RUST_LOG: "error" })
    closing.push(() => node.stop("SIGKILL"))
    nodes.push(node)
  }
  await allConnected(nodes)
  return nodes
}

const ready = async ({ url }) => (await (await fetch(`${url}/readyz`)).text()).match(/cluster up: \d+ nodes/)?.[0]

const allConnected = nodes => until(() => Promise.all(nodes.map(ready)), nodes.map(() => `cluster up: ${nodes.length} nodes`), PATIENCE)

async function replace(node) {
  await node.stop()
  await node.startAgain()
}

/** Someone on a page that shows who is there. */
class Page {
  heard = []

  constructor({ Socket, Presence, options }, socketUrl, name) {
    this.name = name
    this.socket = new Socket(socketUrl, { ...options, ...OPTIONS })
    this.socket.connect()
    this.channel = this.socket.channel("presence:room", { user_id: name, meta: {} })
    this.presence = new Presence(this.channel)
    this.channel.join()
    this.room = this.socket.channel("ref:room", {})
    this.room.on("bcast", said => this.heard.push(said))
    this.room.join()
  }

  /** What its page and its node say, for a failure. */
  async tells() {
    const { response } = await answer(this.channel.push("list", {}))
    return `${this.name} (${this.channel.state}) sees ${this.people}, and its node ${Object.keys(response)}`
  }

  /** Everyone, and how often. */
  get people() { return this.presence.list((name, { metas }) => metas.map(() => name)).flat().sort() }
}

/** Each says something until all have heard it: nodes may be about to notice that their connection is lost. Then everyone hears all. */
async function allHearAll(pages) {
  for (const page of pages) {
    const mark = `${page.name} ${Math.random()}`
    await until(() => {
      page.room.push("bcast", { mark })
      return pages.filter(({ heard }) => !heard.some(said => said.mark === mark)).map(({ name }) => name)
    }, [], PATIENCE)
  }
  const run = Math.random()
  const said = pages.flatMap(page => Array.from({ length: 20 }, (_, n) => ({ from: page.name, run, n })))
  for (const { from, n } of said) pages.find(({ name }) => name === from).room.push("bcast", { from, run, n })
  for (const { name, heard } of pages) {
    const of = who => heard.filter(said => said.run === run && said.from === who).map(({ n }) => n)
    for (const { name: from } of pages) await until(() => of(from), Array.from({ length: 20 }, (_, n) => n), PATIENCE).catch(() => assert.fail(`${name} heard ${of(from)} of ${from}`))
  }
}

describe("two nodes", { concurrency: 2 }, () => {
  for (const [name, Engine] of [["Redis", Redis], ["PostgreSQL", Postgres]]) suite(name, Engine)
})

function suite(name, Engine) {
  describe(`over ${name}`, { timeout: 900_000, concurrency: 1 }, () => {
    let engine, closing = []
    before(async () => { engine = await Engine.start() })
    after(() => engine.stop())
    afterEach(async () => {
      for (const close of closing.reverse()) await close()
      closing = []
    })

    const enter = (client, socketUrl, name) => {
      const page = new Page(client, socketUrl, name)
      closing.push(() => page.socket.disconnect())
      return page
    }

    test("each page says who is there, and hears all, through kills, replacements, restarts of the engine and cuts", async t => {
      const [one, two] = await nodes(env => Server.reference({ CLUSTER: engine.address, ...env }), closing)
      const pages = []
      for (const node of [one, two]) {
        const tunnel = await Cuts.before(node)
        closing.push(() => tunnel.stop())
        for (const client of RECENT) pages.push(Object.assign(enter(client, tunnel.socketUrl, `page ${pages.length}`), { tunnel }))
      }
      let guests = 0
      // A join that is cut off between its first presence_diff and its presence_state leaves the diff queued in phoenix.js (1.8.16
      // and older), which applies it to the state of the next join, also of a server that knows nothing of it. So nothing fails
      // before everyone has their state.
      const agree = async (what, others) => {
        const there = [...pages, ...others].map(({ name }) => name).sort()
        for (const page of pages) {
          await until(() => page.people, there, PATIENCE).catch(async () => assert.fail(`${what}, ${await page.tells()}, not ${there}`))
        }
      }
      await agree("at first", [])
      const faults = {
        "a node was killed": async () => { await two.kill(); await two.startAgain() },
        "a node was replaced": () => replace(one),
        "the engine was killed": () => engine.restart(),
        "the engine cut its connections": () => engine.cut(),
        "clients were cut off": async () => {
          for (const { tunnel } of [pages[0], pages.at(-1)]) {
            const cut = tunnel.after(1 + random(500))
            for (const { room } of pages) room.push("bcast", { noise: "x".repeat(100) })
            await cut
          }
        },
      }
      await rounds(async () => {
        for (const [what, fail] of Object.entries(faults)) {
          // someone who leaves meanwhile, and someone who comes
          const leaves = enter(RECENT[0], two.socketUrl, `guest ${++guests}`)
          await agree("when someone came", [leaves])
          const failing = fail()
          leaves.socket.disconnect()
          const comes = enter(RECENT[0], one.socketUrl, `guest ${++guests}`)
          await failing
          await allConnected([one, two])
          await agree(`after ${what}`, [comes])
          await allHearAll([...pages, comes])
          comes.socket.disconnect()
          await agree("when someone left", [])
        }
      })
      t.diagnostic(`${ROUNDS * Object.keys(faults).length} faults, ${pages.length} pages and ${guests} guests`)
    })

    describe("in the chat", { concurrency: 1 }, () => {
      let database
      before(async () => { database = Engine === Postgres ? engine : await Postgres.start() })
      after(() => Engine === Postgres || database.stop())

      /** Readers who post, on whichever node the balancer gives them, until `act` has ended; then all that was posted is checked. */
      async function talk(t, act) {
        // the messages of other tests
        await database.sql("DROP TABLE IF EXISTS messages, topics, writers, schema_version")
        const cluster = Engine === Postgres ? "postgres" : engine.address
        const all = await nodes(env => Server.start({ STORE: database.address, CLUSTER: cluster, HISTORY_LIMIT: "1000000", ...env }), closing)
        const balancer = await Balancer.before(all)
        closing.push(() => balancer.stop())
        const readers = []
        for (const client of [...RECENT, ...RECENT]) {
          const reader = new Reader(`reader ${readers.length}`, client, balancer.socketUrl)
          readers.push(reader)
          closing.push(() => reader.socket.disconnect())
        }
        const everyone = what => until(() => readers.filter(reader => !what(reader)).map(({ name }) => name), [], PATIENCE)
        await everyone(({ histories }) => histories === 1)
        let count = 0
        const said = []
        const say = reader => {
          said.push(`${reader.name}: ${++count}`)
          reader.say(said.at(-1))
          const { id } = reader.shown[random(reader.shown.length)] ?? {}
          if (id) reader.channel.push("like_message", { message_id: id })
        }
        const talking = setInterval(() => { for (const reader of readers) if (reader.unsent < 20) say(reader) }, 10)
        const more = async () => {
          const shown = readers[0].shown.length + 100
          await everyone(reader => reader.shown.length >= shown)
        }
        try {
          await act(all, more)
          await more()
        } finally {
          clearInterval(talking)
        }
        await everyone(({ hasSentAll }) => hasSentAll)
        await everyone(({ shown }) => shown.length >= said.length)
        const truth = await Promise.all(all.map(node => Client.join(node)))
        for (const client of truth) closing.push(() => client.disconnect())
        const load = async client => {
          const before = client.histories.length
          client.send("get_messages", {})
          await until(() => client.histories.length > before, true)
          return client.histories.at(-1)
        }
        // likes may still be under way
        let messages
        await until(async () => {
          const [one, two] = await Promise.all(truth.map(load))
          messages = one
          const likes = list => list.map(({ likes }) => likes).join(" ")
          return [likes(two), ...readers.map(({ likes }) => likes.join(" "))].filter(seen => seen !== likes(one)).length
        }, 0, PATIENCE)
        assert.deepEqual(await load(truth[1]), messages)
        assert.deepEqual(messages.map(({ id }) => id), said.map((_, i) => i + 1))
        assert.deepEqual(messages.map(({ content }) => content).sort(), [...said].sort())
        for (const { name, shown, contents, histories } of readers) {
          assert.deepEqual(shown.map(({ id }) => id), messages.map(({ id }) => id), name)
          assert.deepEqual(contents, messages.map(({ content }) => content), name)
          assert.equal(histories, 1, name)
        }
        const missed = readers.flatMap(({ recovered }) => recovered).reduce((sum, { messages }) => sum + messages.length, 0)
        const joins = readers.reduce((sum, { joined }) => sum + joined.length, 0)
        const likes = messages.reduce((sum, { likes }) => sum + likes, 0)
        t.diagnostic(`${messages.length} messages, ${likes} likes, ${joins} joins of ${readers.length} readers, ${missed} messages by recovery`)
        return { joins, missed }
      }

      test("whoever loses their node finds on the other what they missed, once and in order", async t => {
        const { missed } = await talk(t, async ([one, two], more) => {
          await rounds(async () => {
            for (const node of [two, one]) {
              await node.kill()
              await more()
              await node.startAgain()
              await more()
            }
            await engine.cut()
            await more()
            await engine.restart()
            await more()
            if (database !== engine) {
              await database.restart()
              await more()
            }
          })
        })
        assert.ok(missed > 0, "nobody has missed anything")
      })

      test("while nodes are replaced one by one nobody loses a message or sees one twice", async t => {
        const { joins } = await talk(t, async (all, more) => {
          await rounds(async () => {
            for (const node of all) {
              await replace(node)
              await more()
            }
          })
        })
        assert.ok(joins >= 2 * RECENT.length * (1 + ROUNDS), `${joins} joins`)
      })
    })
  })
}
