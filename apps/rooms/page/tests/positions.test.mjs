import assert from "node:assert/strict"
import { test } from "node:test"
import { load } from "./source.mjs"

const { Positions } = await load("lib/live/positions.ts")

const change = id => ({ id, message: { id: 100 + id } })
const taken = changes => changes.map(({ id }) => id)

test("changes are shown in the order of their positions, however they come", () => {
  const positions = new Positions()
  assert.deepEqual(taken(positions.take([change(2)])), [])
  assert.ok(positions.isWaiting)
  assert.deepEqual(taken(positions.take([change(3), change(1)])), [1, 2, 3])
  assert.ok(!positions.isWaiting)
  assert.equal(positions.last, 3)
})

test("a change is shown once", () => {
  const positions = new Positions()
  positions.take([change(1), change(2)])
  assert.deepEqual(taken(positions.take([change(1), change(2)])), [])
})

test("a history takes the place of what came before it, and what came early after it follows", () => {
  const positions = new Positions()
  positions.restart("one", 0)
  positions.take([change(5), change(8)])
  assert.deepEqual(taken(positions.restart("one", 7)), [8])
  assert.equal(positions.last, 8)
})

test("positions of another epoch mean nothing", () => {
  const positions = new Positions()
  positions.restart("one", 0)
  positions.take([change(5)])
  assert.deepEqual(taken(positions.restart("two", 4)), [])
  assert.equal(positions.last, 4)
})

test("what came early is forgotten with its connection", () => {
  const positions = new Positions()
  positions.take([change(2)])
  positions.forgetEarly()
  assert.deepEqual(taken(positions.take([change(1)])), [1])
})
