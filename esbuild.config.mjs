// Builds assets/ into priv/static/: node esbuild.config.mjs [--release | --watch]
import { spawn } from "node:child_process"
import { once } from "node:events"
import { rm } from "node:fs/promises"
import * as esbuild from "esbuild"

const out = "priv/static"
const release = process.argv.includes("--release")
const watch = process.argv.includes("--watch")

await rm(out, { recursive: true, force: true })

const context = await esbuild.context({
  entryPoints: {
    "assets/app": "assets/js/app.js",
    "assets/page": "assets/js/page.js",
    "assets/favicon": "assets/favicon.svg",
    index: "assets/index.html",
  },
  outdir: out,
  bundle: true,
  target: "es2022",
  loader: { ".html": "copy", ".svg": "copy" },
  minify: release,
  sourcemap: release ? false : "inline",
  logLevel: "info",
})

const tailwind = spawn(
  "node_modules/.bin/tailwindcss",
  ["-i", "assets/css/app.css", "-o", `${out}/assets/app.css`, ...(release ? ["--minify"] : []), ...(watch ? ["--watch"] : [])],
  // It watches until its input ends, that is, as long as this process lives.
  { stdio: ["pipe", "inherit", "inherit"] },
)

if (watch) {
  await context.watch()
} else {
  await context.rebuild()
  await context.dispose()
  const [code] = await once(tailwind, "exit")
  process.exitCode = code ?? 1
}
