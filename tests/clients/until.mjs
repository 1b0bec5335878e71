import assert from "node:assert/strict"

/** Waits until `read` gives what is expected, and fails with what it gave last. */
export async function until(read, expected, timeout = 20_000) {
  const deadline = Date.now() + timeout
  for (;;) {
    const seen = await read()
    try {
      assert.deepEqual(seen, expected)
      return
    } catch (error) {
      if (Date.now() > deadline) throw error
    }
    await new Promise(done => setTimeout(done, 20))
  }
}
