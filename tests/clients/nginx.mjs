// A private nginx in front of nodes, with the configuration that the repository has for it.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { join, resolve } from "node:path"
import { Engine } from "./engines.mjs"

/** nginx with `deploy/nginx.conf`, as it is but for the values in the lines marked HERE. */
export class Nginx extends Engine {
  // its workers would outlive a master that is killed
  death = "TERM"

  static async start(...servers) {
    const nginx = new Nginx()
    await nginx.prepare("nginx")
    nginx.#configure(servers)
    await nginx.start()
    return nginx
  }

  #configure(servers) {
    const { folder, port } = this
    mkdirSync(join(folder, "body"))
    const values = [
      ["/run/nginx.pid", `${folder}/nginx.pid`],
      ["/var/log/nginx/error.log", `${folder}/error.log`],
      ["/var/log/nginx/access.log", `${folder}/access.log`],
      ["/var/lib/nginx/body", `${folder}/body`],
      ["listen 80;", `listen 127.0.0.1:${port};`],
      ["chat.example.com", "localhost"],
      ...servers.map(({ url }, n) => [`chat-${n + 1}:4000`, new URL(url).host]),
    ]
    const config = readFileSync(resolve(import.meta.dirname, "../../deploy/nginx.conf"), "utf8")
    const lines = config.split("\n").filter(line => !/^\s*#/.test(line)).map(line => {
      if (!line.includes("# HERE: ")) return line
      const [value, ours] = values.find(([value]) => line.includes(value)) ?? []
      // a node that is not there has no line
      return value ? line.replace(value, ours) : ""
    })
    writeFileSync(join(folder, "nginx.conf"), lines.join("\n"))
  }

  command() {
    const { folder } = this
    return [process.env.NGINX ?? "/usr/sbin/nginx", "-p", folder, "-c", join(folder, "nginx.conf"), "-e", join(folder, "error.log"), "-g", "daemon off;"]
  }

  isUp() {
    return new Promise(done => {
      const socket = connect(this.port, "127.0.0.1", () => { socket.destroy(); done(true) })
      socket.on("error", () => done(false))
    })
  }

  get url() { return `http://127.0.0.1:${this.port}` }
  get socketUrl() { return this.mount("/socket") }

  mount(path) { return this.url.replace("http", "ws") + path }

  /** What it has passed on: [{ method, path, status, nodes }]. */
  get requests() {
    const log = join(this.folder, "access.log")
    const lines = (existsSync(log) ? readFileSync(log, "utf8") : "").split("\n").filter(Boolean)
    return lines.map(line => {
      const [, method, path, status, nodes] = line.match(/"(\S+) (\S+)" (\d+) \d+ \S+ (.*)$/)
      return { method, path, status: Number(status), nodes: nodes.split(", ") }
    })
  }
}
