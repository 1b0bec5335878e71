// Private Redis, PostgreSQL and nginx: in folders of their own, on free ports, gone when the tests are over, however they end.
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { createServer, connect } from "node:net"
import { tmpdir, userInfo } from "node:os"
import { join, resolve } from "node:path"
import { until } from "./until.mjs"

const PASSWORD = "s3cr3t-of-the-tests"

/** A busy machine needs some time. */
const PATIENCE = 60_000

// Runs a program until its input ends, as it does when the tests end.
const WATCH = `
folder=$1 signal=$2
shift 2
"$@" >"$folder/log" 2>&1 </dev/null &
read -r word
kill -"$signal" $! 2>/dev/null
wait
rm -rf "$folder"
`

async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1")
  await once(listener, "listening")
  const { port } = listener.address()
  listener.close()
  await once(listener, "close")
  return port
}

const listens = port => new Promise(done => {
  const socket = connect(port, "127.0.0.1", () => { socket.destroy(); done(true) })
  socket.on("error", () => done(false))
})

class Service {
  #watch

  constructor(name) {
    this.folder = mkdtempSync(join(tmpdir(), `hinotori-${name}-`))
  }

  async run(signal, program, args, options = {}) {
    this.#watch = spawn("/bin/sh", ["-c", WATCH, "sh", this.folder, signal, program, ...args], {
      cwd: this.folder,
      stdio: ["pipe", "ignore", "inherit"],
      ...options,
    })
    await until(async () => await listens(this.port) || `no: ${this.read("log")}`, true, PATIENCE)
  }

  read(name) {
    const path = join(this.folder, name)
    return existsSync(path) ? readFileSync(path, "utf8") : ""
  }

  async stop() {
    this.#watch.stdin.end()
    await once(this.#watch, "exit")
  }
}

export class Redis extends Service {
  static async start() {
    const redis = new Redis("redis")
    redis.port = await freePort()
    const settings = { bind: "127.0.0.1", port: redis.port, requirepass: PASSWORD, save: "", appendonly: "no", dir: redis.folder }
    const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)])
    await redis.run("KILL", "redis-server", args)
    return redis
  }

  get address() { return `redis://:${PASSWORD}@127.0.0.1:${this.port}` }
}

export class Postgres extends Service {
  static async start() {
    const postgres = new Postgres("pg")
    postgres.port = await freePort()
    const { folder } = postgres
    const versions = readdirSync("/usr/lib/postgresql").filter(name => existsSync(`/usr/lib/postgresql/${name}/bin/postgres`))
    const bin = `/usr/lib/postgresql/${versions.sort((a, b) => b - a)[0]}/bin`
    writeFileSync(join(folder, "password"), PASSWORD)
    // the server refuses root
    const user = who()
    const as = user ? { uid: user.uid, gid: user.gid } : {}
    if (user) for (const path of [folder, join(folder, "password")]) chownSync(path, user.uid, user.gid)
    execFileSync(join(bin, "initdb"), [
      "--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync",
      "--pwfile", join(folder, "password"), "-D", join(folder, "data"),
    ], { cwd: folder, ...as })
    await postgres.run("QUIT", join(bin, "postgres"), [
      "-D", join(folder, "data"), "-p", String(postgres.port), "-c", "listen_addresses=127.0.0.1",
      "-c", `unix_socket_directories=${folder}`, "-c", "shared_buffers=16MB",
    ], as)
    return postgres
  }

  get address() { return `postgres://postgres:${PASSWORD}@127.0.0.1:${this.port}/postgres` }
}

/** Whom a server runs as that refuses root; nothing if the tests do not run as root. */
function who() {
  if (userInfo().uid !== 0) return null
  const users = readFileSync("/etc/passwd", "utf8").split("\n").map(line => line.split(":"))
  const [, , uid, gid] = users.find(([name]) => name === "postgres") ?? users.find(([name]) => name === "nobody")
  return { uid: Number(uid), gid: Number(gid) }
}

/** nginx with `deploy/nginx.conf`, as it is but for the values in the lines marked HERE. */
export class Nginx extends Service {
  static async start(...servers) {
    const nginx = new Nginx("nginx")
    nginx.port = await freePort()
    const { folder } = nginx
    mkdirSync(join(folder, "body"))
    const values = [
      ["/run/nginx.pid", `${folder}/nginx.pid`],
      ["/var/log/nginx/error.log", `${folder}/error.log`],
      ["/var/log/nginx/access.log", `${folder}/access.log`],
      ["/var/lib/nginx/body", `${folder}/body`],
      ["listen 80;", `listen 127.0.0.1:${nginx.port};`],
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
    const args = ["-p", folder, "-c", join(folder, "nginx.conf"), "-e", join(folder, "error.log"), "-g", "daemon off;"]
    // its workers would outlive a master that is killed
    await nginx.run("TERM", process.env.NGINX ?? "/usr/sbin/nginx", args)
    return nginx
  }

  get url() { return `http://127.0.0.1:${this.port}` }
  get socketUrl() { return this.mount("/socket") }

  mount(path) { return this.url.replace("http", "ws") + path }

  /** What it has passed on: [{ method, path, status, nodes }]. */
  get requests() {
    const lines = this.read("access.log").split("\n").filter(Boolean)
    return lines.map(line => {
      const [, method, path, status, nodes] = line.match(/"(\S+) (\S+)" (\d+) \d+ \S+ (.*)$/)
      return { method, path, status: Number(status), nodes: nodes.split(", ") }
    })
  }
}
