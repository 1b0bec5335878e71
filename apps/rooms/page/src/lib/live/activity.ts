// Whether somebody is there: the page is visible and was used a short while ago.

import type { Status } from "../shapes"

const AWAY_MS = 5 * 60_000
const SIGNS = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"] as const

/** Calls `onChange` with each new status. Returns what stops that. */
export function watchActivity(onChange: (status: Status) => void): () => void {
  let status: Status = "online"
  let timer: ReturnType<typeof setTimeout>
  const become = (next: Status) => {
    if (next !== status) onChange(status = next)
  }
  const update = () => {
    clearTimeout(timer)
    if (document.hidden) return become("away")
    timer = setTimeout(() => become("away"), AWAY_MS)
    become("online")
  }
  for (const sign of SIGNS) addEventListener(sign, update, { passive: true })
  document.addEventListener("visibilitychange", update)
  update()
  return () => {
    clearTimeout(timer)
    for (const sign of SIGNS) removeEventListener(sign, update)
    document.removeEventListener("visibilitychange", update)
  }
}
