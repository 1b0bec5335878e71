// The real server with a database of its own, on a port that the system chooses. Tests kill it and start it again there.
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { createInterface } from "node:readline"

const root = resolve(import.meta.dirname, "../../../..")
const builds = ["target/debug/rooms", "target/release/rooms"].map(path => resolve(root, path))
const bin = process.env.ROOMS_BIN ? resolve(root, process.env.ROOMS_BIN) : builds.find(existsSync) ?? builds[0]

export class Server {
  url
  #child
  #env
  #folder

  static async start(env = {}) {
    const server = new Server()
    server.#env = env
    server.#folder = await mkdtemp(join(tmpdir(), "rooms-"))
    await server.#run(0)
    return server
  }

  startAgain() {
    return this.#run(Number(new URL(this.url).port))
  }

  async kill(signal = "SIGKILL") {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.kill(signal)
    await once(this.#child, "exit")
  }

  async stop() {
    await this.kill("SIGTERM")
    await rm(this.#folder, { recursive: true, force: true })
  }

  async #run(port) {
    this.#child = spawn(bin, [], {
      cwd: this.#folder,
      env: {
        ...process.env,
        HOST: "127.0.0.1",
        PORT: String(port),
        STORE: `sqlite:${this.#folder}/rooms.db`,
        STATIC_DIR: resolve(import.meta.dirname, "../dist"),
        DRAIN_DEADLINE: "1000",
        ...this.#env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    })
    let log = ""
    this.#child.stderr.on("data", data => { log += data })
    await once(this.#child, "spawn")
    for await (const line of createInterface(this.#child.stdout)) {
      const [, url] = line.match(/listening on (http:\/\/\S+)/) ?? []
      if (!url) continue
      this.url = url
      this.#child.stdout.resume()
      return
    }
    throw new Error(`${bin} ended before it listened:\n${log}`)
  }
}
