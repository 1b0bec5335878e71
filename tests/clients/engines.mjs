// A private Redis or PostgreSQL for nodes to share: in a folder of its own, on a free port, gone when the tests are over, however
// they end. It starts what Debian's packages install, never what runs already.
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync, appendFileSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { until } from "./until.mjs"

const run = promisify(execFile)
const PASSWORD = "s3cr3t-of-the-tests"
const PATIENCE = 60_000

/** Runs a server until the input ends, which it does when the tests end, or until it may go on later. */
const WATCH = `
"$@" </dev/null >>"$FOLDER/log" 2>&1 &
echo $!
read -r word
kill -$DEATH $! 2>/dev/null
kill -CONT $! 2>/dev/null
wait
[ "$word" = keep ] || rm -rf "$FOLDER"
`

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address()
  server.close()
  return port
}

/** A server of the tests. */
export class Engine {
  #watch
  #pid
  folder
  port
  user = {}

  async prepare(name) {
    this.folder = mkdtempSync(join(tmpdir(), `hinotori-${name}-`))
    this.port = await freePort()
  }

  async start() {
    this.#watch = spawn("sh", ["-c", WATCH, "sh", ...this.command()], {
      cwd: this.folder, env: { ...process.env, FOLDER: this.folder, DEATH: this.death }, stdio: ["pipe", "pipe", "inherit"], ...this.user,
    })
    const [line] = await once(this.#watch.stdout, "data")
    this.#pid = Number(line)
    await until(() => this.isUp(), true, PATIENCE)
  }

  /** Ends it as a crash does, and starts it again. */
  async restart() {
    await this.#end("keep\n")
    await this.start()
  }

  async #end(word) {
    this.#watch.stdin.end(word)
    await once(this.#watch, "exit")
  }

  /** Stops its processes, as a machine does that hangs, or lets them go on. */
  signal(name) {
    for (const pid of this.processes(this.#pid)) process.kill(pid, name)
  }

  stop() { return this.#end("") }

  processes(pid) { return [pid] }
}

export class Redis extends Engine {
  death = "KILL"

  static async start() {
    const redis = new Redis()
    await redis.prepare("redis")
    await redis.start()
    return redis
  }

  get address() { return `redis://:${PASSWORD}@127.0.0.1:${this.port}` }

  command() {
    return ["redis-server", "--bind", "127.0.0.1", "--port", String(this.port), "--requirepass", PASSWORD, "--save", "", "--appendonly", "no", "--dir", this.folder]
  }

  /** What it answers to a command. */
  async say(command) {
    const socket = connect(this.port, "127.0.0.1")
    let answers = ""
    socket.setEncoding("utf8").on("data", data => { answers += data })
    socket.end(`AUTH ${PASSWORD}\r\n${command}\r\nQUIT\r\n`)
    await once(socket, "close")
    return answers
  }

  async isUp() { return (await this.say("PING").catch(() => "")).includes("+PONG") }

  /** Cuts the connections of all nodes. */
  async cut() { await this.say("CLIENT KILL TYPE pubsub") }
}

export class Postgres extends Engine {
  /** All of its processes end, and nothing is written any more. */
  death = "QUIT"

  static async start() {
    const postgres = new Postgres()
    await postgres.prepare("postgres")
    await postgres.#make()
    await postgres.start()
    return postgres
  }

  get address() { return `postgres://postgres:${PASSWORD}@127.0.0.1:${this.port}/postgres` }

  #program(name) {
    const versions = existsSync("/usr/lib/postgresql") ? readdirSync("/usr/lib/postgresql") : []
    const newest = versions.sort((a, b) => b - a)[0]
    if (!newest) throw new Error("PostgreSQL is not installed: `make postgres` does that")
    return `/usr/lib/postgresql/${newest}/bin/${name}`
  }

  async #make() {
    // the server refuses root
    if (process.getuid() === 0) {
      const [uid, gid] = readFileSync("/etc/passwd", "utf8").match(/^postgres:[^:]*:(\d+):(\d+)/m).slice(1).map(Number)
      this.user = { uid, gid }
      chownSync(this.folder, uid, gid)
    }
    const password = join(this.folder, "password")
    writeFileSync(password, PASSWORD, { mode: 0o644 })
    const init = ["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--pwfile", password, "-D", this.#data]
    await run(this.#program("initdb"), init, { cwd: this.folder, ...this.user })
    appendFileSync(join(this.#data, "postgresql.conf"), `
listen_addresses = '127.0.0.1'
port = ${this.port}
unix_socket_directories = '${this.folder}'
shared_buffers = 16MB
log_min_messages = warning
`)
  }

  get #data() { return join(this.folder, "data") }

  command() { return [this.#program("postgres"), "-D", this.#data] }

  async sql(statement) {
    const env = { ...process.env, PGPASSWORD: PASSWORD, PGCONNECT_TIMEOUT: "20" }
    const where = ["-h", "127.0.0.1", "-p", String(this.port), "-U", "postgres", "-d", "postgres"]
    const { stdout } = await run(this.#program("psql"), [...where, "-XAtqc", statement], { env, cwd: tmpdir() })
    return stdout.trim()
  }

  async isUp() { return (await this.sql("SELECT 1").catch(() => "")) === "1" }

  async cut() {
    await this.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")
  }

  processes(pid) {
    // the one that starts others first
    return [pid, ...readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number)]
  }
}
