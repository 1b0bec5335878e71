// Keeps the newest message in view, unless the reader has scrolled up.

const pane = document.querySelector("[role=log]")
const END = 8 // px from the end that still count as the end
let following = true
let lastTop = 0

pane.addEventListener("scroll", () => {
  const top = pane.scrollTop
  // A message may have come since this scroll began: only a way up is the reader's.
  following = pane.scrollHeight - pane.clientHeight - top < END || (following && top >= lastTop)
  lastTop = top
})

const resizes = new ResizeObserver(() => {
  if (following) pane.scrollTop = pane.scrollHeight
})
for (const element of [pane, ...pane.children]) resizes.observe(element)

/** Pixels above the visible part of the list. A reader who follows counts as scrolled to the end already. */
export const above = () => (following ? pane.scrollHeight - pane.clientHeight : pane.scrollTop)

/** Takes the reader along to what comes next, wherever they are. */
export function follow() {
  following = true
}
