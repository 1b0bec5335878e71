// Load for one server of Rooms: users in rooms who write, react and read, and a count of what each of them has missed.
//
//   cargo build --release -p rooms
//   node apps/rooms/load/load.mjs [--users 1000] [--rooms 50] [--seconds 60] [--every 20] [--store sqlite:…]
//
// It starts the server on a free port with an empty database of SQLite, signs all users up, lets each join its room, and lets
// each post every 20 seconds on average. Each client checks that the positions of its room are 1, 2, 3 without a gap; at the
// end, all clients of a room must have come as far. Needs `npm ci` in the root of the repository, for the WebSockets.

import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"

const root = join(dirname(fileURLToPath(import.meta.url)), "../../..")
const WebSocket = createRequire(join(root, "package.json"))("ws")

const { values } = parseArgs({
  options: {
    users: { type: "string", default: "1000" },
    rooms: { type: "string", default: "50" },
    seconds: { type: "string", default: "60" },
    every: { type: "string", default: "20" },
    store: { type: "string" },
    binary: { type: "string", default: join(root, "target/release/rooms") },
  },
})
const [users, rooms, seconds, every] = ["users", "rooms", "seconds", "every"].map(name => Number(values[name]))
const sleep = ms => new Promise(done => setTimeout(done, ms))

/** Starts the server, and returns its address and process. */
async function start(folder) {
  writeFileSync(join(folder, "index.html"), "")
  const store = values.store ?? `sqlite:${join(folder, "rooms.db")}`
  // each user comes from an address of its own, as the limits count by address
  const flags = ["--port", "0", "--store", store, "--static-dir", folder, "--trusted-proxies", "127.0.0.1"]
  const server = spawn(values.binary, flags, { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, RUST_LOG: "warn" } })
  const base = await new Promise((listening, failed) => {
    server.stdout.on("data", text => {
      const found = /http:\/\/\S+/.exec(text)
      if (found) listening(found[0])
    })
    server.on("exit", code => failed(new Error(`the server has ended with ${code}`)))
  })
  return { server, base }
}

/** CPU seconds and resident megabytes of a process. */
function usage(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ")
  const kilobytes = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1])
  return { cpu: (Number(fields[11]) + Number(fields[12])) / 100, megabytes: kilobytes / 1024 }
}

/** One user with one socket. */
class Client {
  constructor(base, number) {
    Object.assign(this, { base, number, name: `user ${number}`, replies: new Map(), ref: 0, last: 0, gaps: 0, late: [] })
    this.address = `10.${number >> 16 & 255}.${number >> 8 & 255}.${number & 255}`
  }

  async http(path, body) {
    const headers = { "x-forwarded-for": this.address, "content-type": "application/json", cookie: this.cookie ?? "" }
    const response = await fetch(this.base + path, body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers })
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
    this.cookie ??= response.headers.get("set-cookie")?.split(";")[0]
    return response.json()
  }

  async signUp() {
    const { user } = await this.http("/api/sign-up", { name: this.name, password: "hinotori" })
    this.id = user.id
  }

  async connect() {
    const { token } = await this.http("/api/session")
    const bearer = "base64url.bearer.phx." + Buffer.from(token).toString("base64url")
    const address = this.base.replace("http", "ws") + "/socket/websocket?vsn=2.0.0"
    this.socket = new WebSocket(address, ["phoenix", bearer], { perMessageDeflate: false })
    this.socket.on("message", text => this.receive(JSON.parse(text)))
    await new Promise((opened, failed) => this.socket.on("open", opened).on("error", failed))
    this.heartbeat = setInterval(() => this.send(null, "phoenix", "heartbeat", {}), 30_000)
    await this.join("team", { device: "desktop" })
    await this.join(`user:${this.id}`, {})
  }

  send(joinRef, topic, event, payload) {
    const ref = String(++this.ref)
    this.socket.send(JSON.stringify([joinRef ?? null, ref, topic, event, payload]))
    return new Promise((done, failed) => this.replies.set(ref, { done, failed, what: `${topic} ${event}` }))
  }

  join(topic, payload) {
    const joinRef = String(this.ref + 1)
    this.joinRefs = { ...this.joinRefs, [topic]: joinRef }
    return this.send(joinRef, topic, "phx_join", payload)
  }

  ask(topic, event, payload) {
    return this.send(this.joinRefs[topic], topic, event, payload)
  }

  async enter(roomId) {
    await this.ask(`user:${this.id}`, "join_room", { room_id: roomId })
    this.room = `room:${roomId}`
    await this.join(this.room, { last_seen_id: 0, epoch: null })
  }

  receive([, ref, topic, event, payload]) {
    if (event === "phx_reply") {
      const reply = this.replies.get(ref)
      this.replies.delete(ref)
      if (payload.status === "ok") reply?.done(payload.response)
      else reply?.failed(new Error(`${reply.what}: ${JSON.stringify(payload.response)}`))
    } else if (event === "history") {
      this.last = payload.last_id
    } else if (event === "change" && topic === this.room) {
      if (payload.id > this.last + 1) this.gaps++
      this.last = Math.max(this.last, payload.id)
      this.changes = (this.changes ?? 0) + 1
      const sent = Number(payload.message.nonce.split(" ")[1])
      if (payload.message.reactions.length === 0) this.late.push(performance.now() - sent)
    }
  }

  /** Posts now and then, and reacts to every fourth of its own messages. */
  async write(until) {
    for (let n = 0; ; n++) {
      const wait = -Math.log(1 - Math.random()) * every * 1000
      const left = until - performance.now()
      await sleep(Math.min(wait, left))
      if (wait >= left) return n
      const nonce = `${this.number}-${n} ${performance.now()}`
      const { id } = await this.ask(this.room, "post", { text: `Message **${n}** of ${this.name}`, nonce })
      if (n % 4 === 0) await this.ask(this.room, "react", { id, emoji: "👍", on: true })
      await this.ask(`user:${this.id}`, "read", { room_id: this.room.slice(5), id })
    }
  }
}

/** Does something for all, some at a time. */
async function all(list, atATime, work) {
  const rest = [...list]
  await Promise.all(Array.from({ length: atATime }, async () => {
    while (rest.length) await work(rest.shift())
  }))
}

const folder = mkdtempSync(join(tmpdir(), "rooms-load-"))
const { server, base } = await start(folder)
try {
  const clients = Array.from({ length: users }, (_, number) => new Client(base, number))
  const step = async (what, work) => {
    const [from, before] = [performance.now(), usage(server.pid)]
    await work()
    const [took, after] = [(performance.now() - from) / 1000, usage(server.pid)]
    const cpu = ((after.cpu - before.cpu) / took * 100).toFixed(0)
    console.log(`${what}: ${took.toFixed(1)} s, CPU ${cpu}% of a core, RSS ${after.megabytes.toFixed(0)} MB`)
    return took
  }
  console.log(`empty: RSS ${usage(server.pid).megabytes.toFixed(0)} MB`)
  await step(`${users} sign-ups`, () => all(clients, 16, client => client.signUp()))
  await step(`${users} sockets, each with two topics`, () => all(clients, 50, client => client.connect()))
  const ids = []
  await step(`${rooms} rooms entered`, async () => {
    for (let n = 0; n < rooms; n++) {
      const { room } = await clients[n].ask(`user:${clients[n].id}`, "create_room", { name: `room ${n}`, private: false })
      ids.push(room.id)
    }
    await all(clients, 50, client => client.enter(ids[client.number % rooms]))
  })
  let posts = 0
  const took = await step("conversation", async () => {
    const until = performance.now() + seconds * 1000
    const written = await Promise.all(clients.map(client => client.write(until)))
    posts = written.reduce((sum, n) => sum + n, 0)
    await sleep(1000)
  })
  const late = clients.flatMap(client => client.late).sort((a, b) => a - b)
  const at = part => late[Math.floor(late.length * part)]?.toFixed(1)
  const changes = clients.reduce((sum, client) => sum + (client.changes ?? 0), 0)
  const gaps = clients.reduce((sum, client) => sum + client.gaps, 0)
  const behind = clients.filter(client => client.last < Math.max(...clients.filter(other => other.room === client.room).map(other => other.last)))
  console.log(`${posts} posts (${(posts / took).toFixed(0)}/s), ${changes} changes delivered (${(changes / took).toFixed(0)}/s)`)
  console.log(`from the post to each client: median ${at(0.5)} ms, 99% within ${at(0.99)} ms, all within ${at(0.9999)} ms`)
  console.log(`gaps ${gaps}, clients that are behind ${behind.length}`)
  for (const client of clients) client.socket.terminate()
  process.exitCode = gaps || behind.length ? 1 : 0
} finally {
  server.removeAllListeners("exit")
  server.kill()
  rmSync(folder, { recursive: true, force: true })
}
setTimeout(() => process.exit(), 1000)
