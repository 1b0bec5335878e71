// A balancer without stickiness: each request goes to the next server, and to the one after it if that cannot be reached.
import { createServer, request } from "node:http"
import { once } from "node:events"

export class RoundRobin {
  #server
  #next = 0
  /** How many requests each server has taken. */
  taken

  static async start(servers) {
    const balancer = new RoundRobin()
    balancer.servers = servers
    balancer.taken = servers.map(() => 0)
    balancer.#server = createServer((incoming, answer) => balancer.#pass(incoming, answer))
    balancer.#server.listen(0, "127.0.0.1")
    await once(balancer.#server, "listening")
    balancer.url = `http://127.0.0.1:${balancer.#server.address().port}`
    return balancer
  }

  get socketUrl() { return this.mount("/socket") }

  mount(path) { return this.url.replace("http", "ws") + path }

  async #pass(incoming, answer) {
    const body = Buffer.concat(await incoming.toArray())
    const first = this.#next++
    for (let n = 0; n < this.servers.length; n++) {
      const at = (first + n) % this.servers.length
      const response = await ask(this.servers[at], incoming, body)
      // A request that was sent may have been handled: a POST is not repeated.
      if (response === "sent" && incoming.method === "POST") break
      if (typeof response === "string") continue
      this.taken[at]++
      answer.writeHead(response.statusCode, response.headers)
      response.on("error", () => answer.destroy())
      return response.pipe(answer)
    }
    answer.writeHead(502).end()
  }

  async stop() {
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, "close")
  }
}

/** The answer; "refused" if there is no connection, or "sent" if it broke. */
function ask(server, { method, url, headers }, body) {
  const { hostname, port } = new URL(server.url)
  return new Promise(done => {
    const onward = request({ hostname, port, method, path: url, headers, agent: false }, done)
    onward.on("error", error => done(error.code === "ECONNREFUSED" ? "refused" : "sent"))
    onward.end(body)
  })
}
