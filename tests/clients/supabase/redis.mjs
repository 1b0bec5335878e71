// A private Redis for tests, on a free port; it keeps nothing.
import { spawn } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"
import { createInterface } from "node:readline"

export class Redis {
  #child
  url

  static async start() {
    for (let attempts = 0; attempts < 5; attempts++) {
      const redis = new Redis()
      if (await redis.#run(await freePort())) return redis
    }
    throw new Error("redis-server does not start: is it installed (`make redis`)?")
  }

  /** Whether it listens: someone else may have taken the port. */
  async #run(port) {
    const settings = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    this.#child = spawn("redis-server", settings.map(String), { stdio: ["ignore", "pipe", "ignore"] })
    await once(this.#child, "spawn")
    for await (const line of createInterface(this.#child.stdout)) {
      if (!/Ready to accept connections/.test(line)) continue
      this.#child.stdout.resume()
      this.url = `redis://127.0.0.1:${port}`
      return true
    }
    return false
  }

  async stop() {
    if (this.#child.exitCode !== null) return
    this.#child.kill("SIGKILL")
    await once(this.#child, "exit")
  }
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address()
  await new Promise(done => server.close(done))
  return port
}
