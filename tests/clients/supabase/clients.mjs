// Supabase's clients as people have them, each in the versions of the protocol that it speaks, and what they all do.
import { createHmac } from "node:crypto"
import { createRequire } from "node:module"
import { createClient } from "@supabase/supabase-js"
import WebSocket from "ws"
import { until } from "../until.mjs"

const require = createRequire(import.meta.url)

export const SECRET = "a secret of the tests, with more than 32 bytes"

/** A key or an access token, good for so many seconds. */
export function token(claims = {}, seconds = 3600) {
  const part = value => Buffer.from(JSON.stringify(value)).toString("base64url")
  const exp = Math.floor(Date.now() / 1000) + seconds
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part({ role: "anon", exp, ...claims })}`
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`
}

/** A token that grants channels by their names or beginnings. */
export const granting = (...channels) => token({ role: "authenticated", realtime: channels })

const open = new Set()

/** For afterEach: whoever is left would connect again for ever. */
export async function disconnectAll() {
  await Promise.all([...open].map(client => client.disconnect()))
  open.clear()
}

class Client {
  constructor(realtime, channel) {
    this.realtime = realtime
    this.channel = (name, config = {}) => new Channel(channel(name, { config }))
    open.add(this)
  }

  setAuth(token) { return this.realtime.setAuth(token) }

  disconnect() { return this.realtime.disconnect() }
}

/** A channel that remembers what it was told. */
class Channel {
  statuses = []
  errors = []
  heard = []
  system = []
  #channel

  constructor(channel) {
    this.#channel = channel
    channel.on("broadcast", { event: "*" }, ({ event, payload }) => this.heard.push([event, plain(payload)]))
    channel.on("system", {}, message => this.system.push(message))
  }

  /** Listens to presences too, which newer clients only then ask for. */
  withPresence() {
    this.#channel.on("presence", { event: "sync" }, () => {})
    return this
  }

  onPostgresChanges() {
    this.#channel.on("postgres_changes", { event: "*", schema: "public" }, () => {})
    return this
  }

  /** Subscribes, and waits for the answer. */
  async subscribe() {
    this.#channel.subscribe((status, error) => {
      this.statuses.push(status)
      if (error) this.errors.push(error.message)
    })
    await until(() => this.statuses.length > 0, true)
    return this
  }

  async subscribed() {
    await this.subscribe()
    if (this.statuses[0] !== "SUBSCRIBED") throw new Error(`${this.statuses}: ${this.errors}`)
    return this
  }

  send(event, payload) { return this.#channel.send({ type: "broadcast", event, payload }) }
  httpSend(event, payload) { return this.#channel.httpSend(event, payload) }
  track(meta) { return this.#channel.track(meta) }
  untrack() { return this.#channel.untrack() }
  unsubscribe() { return this.#channel.unsubscribe() }
  get state() { return this.#channel.state }

  /** Who is there: by key, what each tracks, without refs. */
  present() {
    const metas = Object.entries(this.#channel.presenceState())
    return Object.fromEntries(metas.map(([key, list]) => [key, list.map(({ presence_ref, ...meta }) => meta)]))
  }

  presenceRefs(key) { return this.#channel.presenceState()[key]?.map(meta => meta.presence_ref) }
}

/** Bytes as numbers; anything else as it is. */
function plain(payload) {
  return payload instanceof ArrayBuffer || ArrayBuffer.isView(payload) ? [...new Uint8Array(payload)] : payload
}

function realtime(version, vsn, mount) {
  const { RealtimeClient } = require(`realtime-js-${version}`)
  return {
    name: `realtime-js ${version}${vsn ? `, protocol ${vsn}` : ""}, at ${mount}`,
    sendsBytes: vsn === "2.0.0",
    // 2.90.1 measures names in characters when it writes a binary frame
    measuresBytes: version !== "2.90.1" || vsn !== "2.0.0",
    hasHttpSend: version === "2.119.1",
    connect(server, key = token()) {
      const options = { params: { apikey: key }, transport: WebSocket, reconnectAfterMs: () => 20, ...(vsn && { vsn }) }
      const client = new RealtimeClient(server.mount(mount), options)
      return new Client(client, (name, params) => client.channel(name, params))
    },
  }
}

const supabase = {
  name: "supabase-js 2.119.1",
  sendsBytes: true,
  measuresBytes: true,
  hasHttpSend: true,
  connect(server, key = token()) {
    const options = {
      auth: { persistSession: false, autoRefreshToken: false },
      realtime: { transport: WebSocket, reconnectAfterMs: () => 20 },
    }
    const client = createClient(server.url, key, options)
    return new Client(client.realtime, (name, params) => client.channel(name, params))
  },
}

export const CLIENTS = [
  realtime("2.119.1", "2.0.0", "/realtime/v1"),
  realtime("2.119.1", "1.0.0", "/socket"),
  realtime("2.90.1", "2.0.0", "/socket"),
  realtime("2.90.1", "1.0.0", "/realtime/v1"),
  realtime("2.74.0", undefined, "/realtime/v1"),
  supabase,
]
