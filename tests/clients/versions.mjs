// The phoenix.js versions that people have, each loaded into a browser of its own: what it finds in `self`.
import { createRequire } from "node:module"
import WebSocket from "ws"
import { XMLHttpRequest } from "./xhr.mjs"

const require = createRequire(import.meta.url)

/** The first version to have it. `batches`: long poll posts what is pushed at once in one request, binary as base64. */
const SINCE = { binary: 1.5, batches: 1.7, fallback: 1.7, fetch: 1.8, authToken: 1.8 }

export const VERSIONS = ["1.4", "1.5", "1.6", "1.7", "1.8.12", "1.8.16"]

export function has(version, feature) { return parseFloat(version) >= SINCE[feature] }

class MemoryStorage {
  #items = new Map()
  getItem(key) { return this.#items.get(key) ?? null }
  setItem(key, value) { this.#items.set(key, String(value)) }
}

/** A fresh copy of a version, as a page of its own would have it: { Socket, LongPoll, Presence, sessionStorage }. */
export function load(version, { fetch = false } = {}) {
  const name = require.resolve(`phoenix-${version}`)
  delete require.cache[name]
  const sessionStorage = new MemoryStorage()
  const http = fetch ? { fetch: globalThis.fetch, AbortController } : { XMLHttpRequest }
  globalThis.self = { WebSocket, sessionStorage, ...http }
  try {
    return { ...require(name), sessionStorage }
  } finally {
    delete globalThis.self
  }
}

/** Every version over WebSocket and over long poll, and over fetch where it can do without XMLHttpRequest. */
export const CLIENTS = VERSIONS.flatMap(version => {
  const xhr = load(version)
  const clients = [
    { version, transport: "WebSocket", ...xhr, options: { transport: WebSocket } },
    { version, transport: "long poll", ...xhr, options: { transport: xhr.LongPoll } },
  ]
  if (has(version, "fetch")) {
    const fetch = load(version, { fetch: true })
    clients.push({ version, transport: "long poll by fetch", ...fetch, options: { transport: fetch.LongPoll } })
  }
  return clients
})
