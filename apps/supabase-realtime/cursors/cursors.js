// Everyone's cursor on one page: who is here by Presence, where they point by Broadcast. Open it in two windows, with
// ?url=http://localhost:4000&key=… for the server and a key that it takes.
import { createClient } from "@supabase/supabase-js"

const settings = new URLSearchParams(location.search)
const url = settings.get("url") ?? "http://localhost:4000"
const room = settings.get("room") ?? "cursors"

const me = { id: crypto.randomUUID(), color: `hsl(${Math.floor(Math.random() * 360)} 70% 40%)` }
const status = document.querySelector("#status")
const people = document.querySelector("#people")
const cursors = new Map()

const channel = createClient(url, settings.get("key"))
  .channel(room, { config: { presence: { key: me.id } } })
  .on("presence", { event: "sync" }, () => {
    const here = channel.presenceState()
    people.value = `${Object.keys(here).length} here`
    for (const [id, cursor] of cursors) {
      if (!here[id]) {
        cursor.remove()
        cursors.delete(id)
      }
    }
  })
  .on("broadcast", { event: "move" }, ({ payload }) => show(payload))
  .subscribe((state, error) => {
    status.value = error ? `${state}: ${error.message}` : state.toLowerCase()
    if (state === "SUBSCRIBED") channel.track({ color: me.color })
  })

function show({ id, color, x, y }) {
  let cursor = cursors.get(id)
  if (!cursor) {
    cursor = document.createElement("div")
    cursor.className = "cursor"
    cursor.style.setProperty("--color", color)
    document.body.append(cursor)
    cursors.set(id, cursor)
  }
  cursor.style.translate = `${x * innerWidth}px ${y * innerHeight}px`
}

// one message per frame is as many as anyone can see
let next
addEventListener("pointermove", ({ clientX, clientY }) => {
  const isWaiting = next !== undefined
  next = { ...me, x: clientX / innerWidth, y: clientY / innerHeight }
  if (isWaiting) return
  requestAnimationFrame(() => {
    if (status.value === "subscribed") channel.send({ type: "broadcast", event: "move", payload: next })
    next = undefined
  })
})
