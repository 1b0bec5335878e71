import { readdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { brotliCompressSync, gzipSync } from "node:zlib"
import { svelte } from "@sveltejs/vite-plugin-svelte"
import { defineConfig } from "vite"

/** Writes a `.br` and a `.gz` beside each script and style: the server sends these, and compresses nothing itself. */
function compressed() {
  return {
    name: "compressed",
    apply: "build",
    async writeBundle({ dir = "dist" }) {
      const assets = join(dir, "assets")
      const names = (await readdir(assets)).filter(name => /\.(css|js)$/.test(name))
      await Promise.all(names.map(async name => {
        const content = await readFile(join(assets, name))
        await writeFile(join(assets, `${name}.br`), brotliCompressSync(content))
        await writeFile(join(assets, `${name}.gz`), gzipSync(content, { level: 9 }))
      }))
    },
  }
}

export default defineConfig({
  plugins: [svelte(), compressed()],
  build: {
    target: "es2022",
    // an inlined file would be a data: URL, which the server's Content-Security-Policy forbids
    assetsInlineLimit: 0,
    // its script would be inline; every browser of the target loads modules ahead by itself
    modulePreload: { polyfill: false },
  },
})
