// The arrow keys in a list of messages: up and down, to the first and the last, and out of the list.

export function walk(event: KeyboardEvent, onLeave: () => void) {
  const item = (event.target as Element).closest<HTMLElement>("[data-id]")
  if (!item || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return
  if (event.key === "Escape") {
    event.preventDefault()
    return onLeave()
  }
  const items = [...(event.currentTarget as Element).querySelectorAll<HTMLElement>("[data-id]")]
  const next = {
    ArrowUp: items[items.indexOf(item) - 1] ?? item,
    ArrowDown: items[items.indexOf(item) + 1],
    Home: items[0],
    End: items.at(-1),
  }[event.key]
  if (event.key === "ArrowDown" && !next) onLeave()
  if (!next && event.key !== "ArrowDown") return
  event.preventDefault()
  next?.focus()
  next?.scrollIntoView({ block: "nearest" })
}
