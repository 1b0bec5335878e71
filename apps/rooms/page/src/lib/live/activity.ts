// Whether somebody is there: the page is visible and was used a short while ago. And when they come back to it.

import type { Status } from "../shapes"

const AWAY_MS = 5 * 60_000
/** Who goes back and forth between two windows returns once. */
const RETURN_MS = 10_000
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

/** Calls `onReturn` when the page is shown again or its window gets the focus. Returns what stops that. */
export function watchReturns(onReturn: () => void): () => void {
  let last = -Infinity
  const returned = () => {
    const now = performance.now()
    if (document.hidden || now - last < RETURN_MS) return
    last = now
    onReturn()
  }
  addEventListener("focus", returned)
  document.addEventListener("visibilitychange", returned)
  return () => {
    removeEventListener("focus", returned)
    document.removeEventListener("visibilitychange", returned)
  }
}
