import { svelte } from "@sveltejs/vite-plugin-svelte"
import { defineConfig } from "vite"

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: "es2022",
    // an inlined file would be a data: URL, which the server's Content-Security-Policy forbids
    assetsInlineLimit: 0,
    // its script would be inline; every browser of the target loads modules ahead by itself
    modulePreload: { polyfill: false },
  },
})
