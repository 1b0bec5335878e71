// Starts the real server for tests, on a port that the system chooses, and lets them kill it and start it again there.
import { spawn } from "node:child_process"
import { once } from "node:events"
import { dirname, resolve } from "node:path"
import { createInterface } from "node:readline"

const root = resolve(import.meta.dirname, "../..")
const chat = resolve(root, process.env.REALTIME_CHAT_BIN ?? "target/release/realtime-chat")
const supabase = resolve(root, process.env.SUPABASE_REALTIME_BIN ?? "target/debug/supabase-realtime")
const reference = resolve(root, process.env.REFERENCE_BIN ?? "target/debug/examples/reference")

export class Server {
  #bin
  #child
  #env
  url

  /** The chat. */
  static start(env = {}) {
    return Server.#start(chat, env)
  }

  /** The example `reference`, which has a channel for every rule of the protocol. */
  static reference(env = {}) {
    return Server.#start(reference, env)
  }

  /** The example `yjs`, which is built beside `reference`. */
  static yjs(env = {}) {
    return Server.#start(resolve(dirname(reference), "yjs"), env)
  }

  /** The program `supabase-realtime`. */
  static supabase(env = {}) {
    return Server.#start(supabase, env)
  }

  static async #start(bin, env) {
    const server = new Server()
    server.#bin = bin
    server.#env = env
    await server.#run(0)
    return server
  }

  get socketUrl() { return this.mount("/socket") }

  mount(path) { return this.url.replace("http", "ws") + path }

  async #run(port) {
    const child = spawn(this.#bin, [], {
      cwd: root,
      env: { ...process.env, ...this.#env, HOST: "127.0.0.1", PORT: String(port) },
      stdio: ["ignore", "pipe", "pipe"],
    })
    this.#child = child
    let log = ""
    child.stderr.on("data", data => { log += data })
    await once(child, "spawn")
    for await (const line of createInterface(child.stdout)) {
      const [, url] = line.match(/listening on (http:\/\/\S+)/) ?? []
      if (!url) continue
      this.url = url
      child.stdout.resume()
      return
    }
    throw new Error(`${this.#bin} ended before it listened:\n${log}`)
  }

  async stop(signal = "SIGTERM") {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.kill(signal)
    await once(this.#child, "exit")
  }

  kill() {
    return this.stop("SIGKILL")
  }

  startAgain() {
    return this.#run(Number(new URL(this.url).port))
  }
}
