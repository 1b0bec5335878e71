// Modules of src/ for node:test, compiled as Vite compiles them.
import { svelte } from "@sveltejs/vite-plugin-svelte"
import { runnerImport } from "vite"

const root = new URL("..", import.meta.url).pathname

export async function load(path) {
  const { module } = await runnerImport(`${root}src/${path}`, { root, configFile: false, logLevel: "error", plugins: [svelte()] })
  return module
}
