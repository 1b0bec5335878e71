// The browser's store for this tab. A browser that blocks site data throws as soon as sessionStorage is named, which phoenix.js
// does in its constructor. So while app.js starts there is none, as in browsers without any, and phoenix.js does without.

const own = Object.getOwnPropertyDescriptor(window, "sessionStorage")

function isBlocked() {
  try {
    void window.sessionStorage
    return false
  } catch {
    return true
  }
}

function hide() {
  try {
    Object.defineProperty(window, "sessionStorage", { value: null, configurable: true })
  } catch {
    return // It can't be hidden: app.js will not start, and notice.js says so.
  }
  // app.js has run by then.
  document.addEventListener("DOMContentLoaded", () => {
    delete window.sessionStorage
    if (own) Object.defineProperty(window, "sessionStorage", own)
  }, { once: true })
}

if (isBlocked()) hide()

/** What is stored under `key`, null if nothing is or nothing can be read. */
export function load(key) {
  try {
    return JSON.parse(sessionStorage.getItem(key))
  } catch {
    return null
  }
}

/** Stores a value, and tells whether it will be there after a reload. */
export function save(key, value) {
  try {
    sessionStorage.setItem(key, JSON.stringify(value))
    return true
  } catch {
    return false // full, blocked, or none
  }
}
