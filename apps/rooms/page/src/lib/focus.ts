/**
 * Remembers what has the focus. Returns what gives it back, unless it has gone elsewhere: a button that is shown only while its
 * message has the focus is hidden by then, so its message gets it first.
 */
export function rememberFocus(): () => void {
  const before = document.activeElement as HTMLElement | null
  const owner = before?.closest<HTMLElement>("li[tabindex]")
  return () => queueMicrotask(() => {
    if (document.activeElement !== document.body) return
    owner?.focus({ preventScroll: true })
    before?.focus({ preventScroll: true })
  })
}
